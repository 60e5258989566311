import { readdirSync, rmSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

// One start-up file per process and shared chunks: a bundle starts several times faster than hundreds of module files.
const here = fileURLToPath(new URL(".", import.meta.url));
const outdir = resolve(here, process.argv[2] ?? "dist");

const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: {
    kvant: "src/kvant.ts",
    "engine-process": "../../packages/engine/src/process/main.ts",
  },
  outdir,
  metafile: true,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  conditions: ["@kvant/source"],
  // These find files beside themselves: the weights, the .proto files.
  external: [
    "@kvant/tiny-model",
    "@kvant/proto",
    "@kvant/proto/*",
    "@grpc/grpc-js",
    "@grpc/proto-loader",
    "@grpc/reflection",
    "grpc-health-check",
  ],
  // CommonJS dependencies inside an ES module bundle.
  banner: {
    js: [
      'import { createRequire as __createRequire } from "node:module";',
      'import { fileURLToPath as __fileURLToPath } from "node:url";',
      'import { dirname as __pathDirname } from "node:path";',
      "const require = __createRequire(import.meta.url);",
      "const __filename = __fileURLToPath(import.meta.url);",
      "const __dirname = __pathDirname(__filename);",
    ].join("\n"),
  },
  legalComments: "linked",
  minifySyntax: true,
});

// Chunks are named by their content, so those of earlier builds would stay for ever.
const built = new Set(Object.keys(metafile.outputs).map((path) => basename(path)));
for (const name of readdirSync(outdir)) if (!built.has(name)) rmSync(join(outdir, name), { recursive: true });
