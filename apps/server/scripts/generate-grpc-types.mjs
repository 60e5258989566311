// Writes the TypeScript types of the .proto files to src/grpc/generated, or to the folder given. A test runs it into a
// temporary folder and compares.
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const home = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const generator = require.resolve("@grpc/proto-loader/build/bin/proto-loader-gen-types.js");
const protoRoot = dirname(require.resolve("@kvant/proto/package.json"));
const target = resolve(process.argv[2] ?? join(home, "src/grpc/generated"));

rmSync(target, { recursive: true, force: true });
execFileSync(
  process.execPath,
  [
    generator,
    ...["--longs=Number", "--enums=String", "--defaults", "--arrays", "--objects", "--oneofs"],
    ...[
      "--grpcLib=@grpc/grpc-js",
      "--importFileExtension=.ts",
      `--outDir=${relative(protoRoot, target)}`,
      "--includeDirs=.",
    ],
    ...["--", "kvant/v1/generation.proto", "inference/grpc_predict_v2.proto"],
  ],
  // From the protos' folder, so that the paths in the files' headers do not depend on the machine.
  { cwd: protoRoot, stdio: ["ignore", "ignore", "inherit"] },
);
