import { fileURLToPath } from "node:url";
import { build } from "esbuild";

// One start-up file per process and shared chunks: a bundle starts several times faster than hundreds of module files.
const here = fileURLToPath(new URL(".", import.meta.url));

await build({
  absWorkingDir: here,
  entryPoints: {
    kvant: "src/kvant.ts",
    "engine-process": "../../packages/engine/src/process/main.ts",
  },
  outdir: "dist",
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
