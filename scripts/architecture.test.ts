import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { importedPackages, isTestCode, sourceFiles } from "./packages/source-files.ts";
import { repository, workspacePackages } from "./packages/workspace-packages.ts";

// Which packages of the workspace a package's shipped code may import. Arrows point down: a row names only rows above it.
const mayImport: Readonly<Record<string, readonly string[]>> = {
  "@kvant/core": [],
  "@kvant/proto": [],
  "@kvant/tiny-model": [],
  "@kvant/native": [],
  "@kvant/report": ["core"],
  "@kvant/formats": ["core"],
  "@kvant/tokenizer": ["core"],
  "@kvant/checkpoint": ["core", "formats"],
  "@kvant/quantizers": ["core", "formats", "checkpoint"],
  "@kvant/kernels": ["core", "formats"],
  "@kvant/kvcache": ["core", "formats"],
  "@kvant/models": ["core", "formats", "checkpoint", "kernels"],
  "@kvant/engine": ["core", "formats", "tokenizer", "checkpoint", "quantizers", "kernels", "kvcache", "models"],
  "@kvant/server": ["core", "engine", "proto"],
  "@kvant/bench": [
    ...["core", "proto", "report", "formats", "tokenizer"],
    ...["checkpoint", "quantizers", "kernels", "kvcache", "models", "engine"],
  ],
  kvant: [
    ...[
      "core",
      "proto",
      "tiny-model",
      "report",
      "formats",
      "tokenizer",
      "checkpoint",
      "quantizers",
      "kernels",
      "kvcache",
      "models",
    ],
    ...["engine", "server", "bench"],
  ],
};

// The network lives in one place, and the load client's gRPC in another.
const grpcClient = "bench/src/client/";
const serverOnly = /^(fastify|@fastify\/.*|@grpc\/.*|grpc-health-check|prom-client|typebox|@sinclair\/typebox|pino)$/;

// A file does one job; past this it does two.
const longestFile = 450;

const packages = workspacePackages();
const typescript = packages.flatMap(({ folder, manifest }) =>
  existsSync(join(repository, folder, "src"))
    ? sourceFiles(`${folder}/src`, /\.ts$/).map((path) => ({ path, manifest, imports: importedPackages(path) }))
    : [],
);

test("the table of layers names every package, and its arrows point down", () => {
  const names = Object.keys(mayImport);
  expect(packages.map(({ manifest }) => manifest.name).sort()).toEqual([...names].sort());
  for (const [name, below] of Object.entries(mayImport)) {
    for (const imported of below) expect(names.indexOf(`@kvant/${imported}`), name).toBeLessThan(names.indexOf(name));
  }
});

test("packages import only packages below them", () => {
  const violations = typescript.flatMap(({ path, manifest, imports }) => {
    const allowed = mayImport[manifest.name]!.map((name) => `@kvant/${name}`);
    return imports
      .filter((name) => name.startsWith("@kvant/") && name !== manifest.name && !allowed.includes(name))
      .filter(() => !isTestCode(path))
      .map((name) => `${path} imports ${name}`);
  });
  expect(violations).toEqual([]);
});

test("every import is declared, what is shipped among the dependencies", () => {
  const shared = ["vitest", "@types/node"]; // the workspace root's
  const violations = typescript.flatMap(({ path, manifest, imports }) => {
    // The command line is bundled: what it imports is inside its own files.
    const development = isTestCode(path) || manifest.name === "kvant" ? manifest.devDependencies : {};
    const declared = Object.keys({ ...manifest.dependencies, ...development });
    return imports
      .filter((name) => name !== manifest.name && !declared.includes(name) && !shared.includes(name))
      .map((name) => `${path} imports ${name}, which ${manifest.name} does not declare`);
  });
  expect(violations).toEqual([]);
});

test("only the server imports Fastify, gRPC and Prometheus, but for the load client's gRPC", () => {
  const isLoadClient = (path: string, name: string) => path.startsWith(grpcClient) && name.startsWith("@grpc/");
  const violations = typescript
    .filter(({ manifest }) => manifest.name !== "@kvant/server")
    .flatMap(({ path, imports }) =>
      imports.filter((name) => serverOnly.test(name) && !isLoadClient(path, name)).map((name) => `${path}: ${name}`),
    );
  expect(violations).toEqual([]);
});

test("napi.h is included in native/src/addon and nowhere else", () => {
  const files = [...sourceFiles("native/src", /\.(cc|h)$/), ...sourceFiles("native/include", /\.h$/)];
  const including = files.filter((path) => /#include\s*[<"]napi\.h[>"]/.test(read(path)));
  expect(including.filter((path) => !path.startsWith("native/src/addon/"))).toEqual([]);
  expect(including).not.toEqual([]);
});

test("shared native code has no #if on CUDA: a backend that is not built is a file of its own", () => {
  const files = sourceFiles("native/src", /\.(cc|h)$/).filter((path) => !/cuda\//.test(path));
  expect(files.filter((path) => /#\s*if.*(KVANT_)?CUDA/.test(read(path)))).toEqual([]);
});

test(`no source file is longer than ${longestFile} lines`, () => {
  const files = ["packages", "apps", "bench", "native", "scripts"].flatMap((folder) =>
    sourceFiles(folder, /\.(ts|mjs|js|cc|h|cu|cuh|py|proto)$/),
  );
  const lengths = files.map((path) => ({ path, lines: read(path).split("\n").length - 1 }));
  expect(lengths.filter(({ lines }) => lines > longestFile)).toEqual([]);
});

test("TypeScript has no star exports, no casts through unknown and no leftovers", () => {
  const banned = /^export \*|\bas unknown as\b|\bTODO\b|\bFIXME\b|@ts-(ignore|nocheck)/m;
  const violations = typescript.map(({ path }) => path).filter((path) => banned.test(read(path)));
  expect(violations).toEqual([]);
});

describe.each(packages.map((entry) => ({ name: entry.manifest.name, entry })))("$name", ({ entry }) => {
  const { folder, manifest } = entry;

  test("has the scripts build, check and test", () => {
    for (const script of ["build", "check", "test"]) expect(manifest.scripts?.[script]).toMatch(/\S/);
  });

  test("states its license, engines, repository, description and files", () => {
    expect(manifest).toMatchObject({
      type: "module",
      license: "Apache-2.0",
      engines: { node: ">=20.19" },
      repository: { type: "git", directory: folder },
    });
    expect(manifest.description).toMatch(/^\S.*\.$/);
    expect(manifest.files).toBeDefined();
  });

  test("has a README that begins with its name", () => {
    expect(read(`${folder}/README.md`)).toMatch(new RegExp(`^# ${manifest.name}\n`));
  });

  test.skipIf(manifest.private === true)("has a version like every other package, and ships its README", () => {
    expect(manifest.version).toBe(packages[0]!.manifest.version);
    expect(manifest.files).toContain("README.md");
  });

  test("depends only on packages below it", () => {
    const ours = Object.keys(manifest.dependencies ?? {}).filter((name) => name.startsWith("@kvant/"));
    expect(ours.filter((name) => !mayImport[manifest.name]!.includes(name.slice("@kvant/".length)))).toEqual([]);
  });
});

function read(path: string): string {
  return readFileSync(join(repository, path), "utf8");
}
