// Builds dist/kvant.node with CMake. Options:
//   --test               build, run the C++ tests, then those of the addon
//   --sanitize=KIND      address, undefined or thread: build in build-KIND and run the C++ tests; dist stays as it is
//   --force              build even when nothing changed
//   --cuda-release       besides code for compute capability 9.0 also portable code (PTX) for 8.0 and newer
//   --cuda-ptx-only      the portable code alone, so that a 9.0 device can test it: build in build-ptx; dist stays as it is
// With nvcc on the PATH or in /usr/local/cuda (or named by CUDACXX) the addon also holds the CUDA kernels; KVANT_CUDA=0 leaves
// them out. KVANT_NATIVE_BUILD_DIR moves the build tree. CXX names the compiler.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  accessSync,
  constants,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);

class BuildError extends Error {}

/** What a package manager calls the tool, by the manager's own command. */
const installHints = {
  compiler: { apt: "apt-get install g++", brew: "xcode-select --install", dnf: "dnf install gcc-c++" },
  cmake: { apt: "apt-get install cmake", brew: "brew install cmake", dnf: "dnf install cmake" },
  make: { apt: "apt-get install make", brew: "xcode-select --install", dnf: "dnf install make" },
};

function findProgram(names) {
  for (const name of names) {
    if (name.includes("/")) {
      if (isExecutable(name)) return name;
      continue;
    }
    for (const folder of (process.env.PATH ?? "").split(delimiter)) {
      const path = join(folder, name);
      if (folder !== "" && isExecutable(path)) return path;
    }
  }
  return undefined;
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function requireProgram(what, kind, names) {
  const path = findProgram(names);
  if (path !== undefined) return path;
  const { apt, brew, dnf } = installHints[kind];
  throw new BuildError(
    `${what} was not found (looked for ${names.join(", ")}). Install it: Debian/Ubuntu: ${apt}; macOS: ${brew}; Fedora: ${dnf}.`,
  );
}

function nodeApiFolders() {
  try {
    return {
      addonApi: dirname(require.resolve("node-addon-api/package.json")),
      headers: join(dirname(require.resolve("node-api-headers/package.json")), "include"),
    };
  } catch (error) {
    throw new BuildError(`${error.message.split("\n")[0]}. Run the workspace install first (npm start does it).`);
  }
}

/** nvcc, or undefined for an addon without CUDA. */
function findNvcc() {
  if (process.env.KVANT_CUDA === "0") return undefined;
  return findProgram(process.env.CUDACXX ? [process.env.CUDACXX] : ["nvcc", "/usr/local/cuda/bin/nvcc"]);
}

/** As CMake names them: code for compute capability 9.0, PTX for 8.0 that other devices compile when they load it. */
function cudaArchitectures(options) {
  if (options["cuda-ptx-only"] === true) return "80-virtual";
  return options["cuda-release"] === true ? "90a-real;80-virtual" : "90a-real";
}

/** Digest of everything that decides the bytes of the addon. */
function stampOf(compiler, nvcc, folders, architectures) {
  const hash = createHash("sha256");
  hash.update(
    JSON.stringify([
      process.platform,
      process.arch,
      process.env.CXXFLAGS ?? "",
      compiler,
      compilerIdentity(compiler),
      nvcc === undefined ? "no CUDA" : spawnSync(nvcc, ["--version"], { encoding: "utf8" }).stdout,
      architectures,
      folders,
    ]),
  );
  hash.update(readFileSync(join(folders.addonApi, "package.json")));
  for (const path of ["CMakeLists.txt", "build.mjs", ...sourceFiles("include"), ...sourceFiles("src")]) {
    hash
      .update(`${path}\0`)
      .update(readFileSync(join(root, path)))
      .update("\0");
  }
  return hash.digest("hex");
}

function compilerIdentity(compiler) {
  return spawnSync(compiler, ["-dumpfullversion", "-dumpversion", "-dumpmachine"], { encoding: "utf8" }).stdout ?? "";
}

function sourceFiles(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(root.length + 1))
    .sort();
}

function run(command, args) {
  const { status, signal, error } = spawnSync(command, args, { stdio: "inherit", cwd: root });
  if (error !== undefined) throw new BuildError(`${command}: ${error.message}`);
  if (status !== 0) throw new BuildError(`${command} ${args[0]} failed with ${signal ?? `exit code ${status}`}`);
}

function readIfPresent(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function main() {
  const { values } = parseArgs({
    options: {
      test: { type: "boolean" },
      sanitize: { type: "string" },
      "cuda-release": { type: "boolean" },
      "cuda-ptx-only": { type: "boolean" },
      force: { type: "boolean" },
    },
  });
  const { sanitize } = values;
  if (sanitize !== undefined && !["address", "undefined", "thread"].includes(sanitize)) {
    throw new BuildError(`--sanitize=${sanitize}: must be address, undefined or thread`);
  }
  if (process.platform === "win32") throw new BuildError("Windows is not supported; use WSL 2");

  const compiler = requireProgram(
    "A C++20 compiler",
    "compiler",
    process.env.CXX ? [process.env.CXX] : ["c++", "g++", "clang++"],
  );
  const folders = nodeApiFolders();
  const output = join(root, "dist", "kvant.node");
  // Sanitizers look at the host code alone.
  const nvcc = sanitize === undefined ? findNvcc() : undefined;
  const architectures = cudaArchitectures(values);
  const isPortable = values["cuda-ptx-only"] === true;
  if (isPortable && nvcc === undefined)
    throw new BuildError("--cuda-ptx-only: needs nvcc, and builds without a sanitizer");
  // A tree beside that of the normal build: neither then compiles the other's objects again, and dist is left alone.
  const variant = sanitize ?? (isPortable ? "ptx" : undefined);
  const stamp = stampOf(compiler, nvcc, folders, architectures);
  const fresh =
    variant === undefined &&
    values.force !== true &&
    readIfPresent(`${output}.stamp`) === stamp &&
    isExecutable(output);
  if (fresh && values.test !== true) {
    console.log("native: dist/kvant.node is up to date");
    return;
  }

  const cmake = requireProgram("CMake (3.20 or newer)", "cmake", ["cmake"]);
  const ninja = findProgram(["ninja"]);
  if (ninja === undefined) requireProgram("make", "make", ["make", "gmake"]);
  const suffix = variant === undefined ? "" : `-${variant}`;
  const buildFolder = `${resolve(process.env.KVANT_NATIVE_BUILD_DIR ?? join(root, "build"))}${suffix}`;
  const jobs = ["--parallel", String(availableParallelism())];

  run(cmake, [
    ...["-S", root, "-B", buildFolder, "-DCMAKE_BUILD_TYPE=Release", `-DCMAKE_CXX_COMPILER=${compiler}`],
    ...[`-DKVANT_NODE_ADDON_API=${folders.addonApi}`, `-DKVANT_NODE_API_HEADERS=${folders.headers}`],
    ...[`-DKVANT_NVCC=${nvcc ?? ""}`, `-DKVANT_CUDA_ARCHITECTURES=${architectures}`],
    `-DKVANT_SANITIZE=${sanitize ?? ""}`,
    // A build tree keeps the generator that made it.
    ...(ninja !== undefined && readIfPresent(join(buildFolder, "CMakeCache.txt")) === undefined ? ["-G", "Ninja"] : []),
  ]);
  if (!fresh) run(cmake, ["--build", buildFolder, ...jobs]);
  if (values.test === true || sanitize !== undefined) {
    run(cmake, ["--build", buildFolder, "--target", "kvant_tests", ...jobs]);
    run("ctest", ["--test-dir", buildFolder, "--output-on-failure"]);
  }
  if (variant !== undefined) return;
  if (!fresh) install(join(buildFolder, "kvant.node"), output, stamp);
  if (values.test === true) run(process.execPath, ["--test", "test/"]);
}

function install(built, output, stamp) {
  mkdirSync(dirname(output), { recursive: true });
  const partial = `${output}.${process.pid}`;
  copyFileSync(built, partial);
  // Renamed into place: a process that has the old file mapped keeps it.
  renameSync(partial, output);
  writeFileSync(`${output}.stamp`, stamp);
  console.log("native: built dist/kvant.node");
}

try {
  main();
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  console.error(`native: ${error.message}`);
  process.exitCode = 1;
}
