import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { errorCodes } from "../packages/core/src/index.ts";
import { repository, workspacePackages } from "./packages/workspace-packages.ts";
import { referencePage } from "./reference-tables.ts";

const pages = [
  "README.md",
  "CONTRIBUTING.md",
  ...["docs", "docs/how-to", "docs/operations"].flatMap((folder) =>
    readdirSync(join(repository, folder))
      .filter((name) => name.endsWith(".md"))
      .map((name) => `${folder}/${name}`),
  ),
];
const readmes = workspacePackages().map(({ folder }) => `${folder}/README.md`);
const roots = /^(packages|apps|native|proto|bench|docs|scripts)\//;
const commandLine = readFileSync(join(repository, "apps/cli/src/kvant.ts"), "utf8");
const modelOptions = readFileSync(join(repository, "apps/cli/src/model-options.ts"), "utf8");
const loadFlags = readFileSync(join(repository, "apps/cli/src/load-flags.ts"), "utf8");
const flags = new Set(
  [...`${commandLine}${modelOptions}${loadFlags}`.matchAll(/"(--[a-z-]+)[ "]/g)].map(([, flag]) => flag!),
);
const commands = new Set([...commandLine.matchAll(/command\("([a-z]+)/g)].map(([, name]) => name!));

test("docs/reference.md is what the tables in the code say", async () => {
  expect(read("docs/reference.md"), "run npm run docs:reference").toBe(await referencePage());
});

describe.each([...pages, ...readmes].filter((page) => existsSync(join(repository, page))))("%s", (page) => {
  const text = read(page);

  test("links to files that exist", () => {
    const targets = [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, target]) => target!);
    const local = targets.filter((target) => !/^[a-z]+:/.test(target));
    expect(local.filter((target) => !existsSync(join(repository, dirname(page), target)))).toEqual([]);
  });

  test("names files and folders that exist", () => {
    const named = [...text.matchAll(/`([^`\s]+\/[^`\s]*)`/g)].map(([, path]) => path!);
    const paths = named.filter(
      (path) => roots.test(path) && !/[*<>{}]|NAME/.test(path) && !/\/(dist|build)\b/.test(path),
    );
    expect(paths.filter((path) => !existsSync(join(repository, path)))).toEqual([]);
  });

  test("shows commands and flags that the command line has", () => {
    const lines = text
      .split("\n")
      .filter((line) => /\bkvant [a-z]/.test(line) && /^(npx |node_modules\/|kvant )/.test(line));
    const unknown = lines.flatMap((line) => {
      const [, command] = /\bkvant ([a-z]+)/.exec(line)!;
      const used = [...line.matchAll(/(?<=\s)--[a-z][a-z-]*/g)].map(([flag]) => flag);
      return [
        ...(commands.has(command!) ? [] : [command!]),
        ...used.filter((flag) => !flags.has(flag) && flag !== "--help"),
      ];
    });
    expect(unknown).toEqual([]);
  });

  test("uses error codes that exist", () => {
    const codes = [...text.matchAll(/`([A-Z]+(?:_[A-Z]+)+)`/g)].map(([, code]) => code!);
    const notCodes = new Set([
      "FROM_PREVIOUS_STEP",
      "RUN_SUCCESS",
      "NATIVE_ABI",
      "NOT_FOUND",
      "NOT_SERVING",
      "INVALID_ARGUMENT",
    ]);
    const isCode = (name: string) => !notCodes.has(name) && !/^(KVANT|CUDA)_/.test(name); // the environment's
    expect(codes.filter((name) => isCode(name) && !Object.hasOwn(errorCodes, name))).toEqual([]);
  });
});

function read(path: string): string {
  return readFileSync(join(repository, path), "utf8");
}
