import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { repository } from "./workspace-packages.ts";

const generated = new Set(["node_modules", "dist", "generated", ".turbo"]);

/** Files below a folder of the repository whose names match, as sorted paths from the repository root. */
export function sourceFiles(folder: string, name: RegExp): readonly string[] {
  return readdirSync(join(repository, folder), { withFileTypes: true })
    .flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) {
        return generated.has(entry.name) || entry.name.startsWith("build") ? [] : sourceFiles(path, name);
      }
      return name.test(entry.name) ? [path] : [];
    })
    .sort();
}

/** Code that is not shipped: tests and what only tests use. */
export function isTestCode(path: string): boolean {
  return /\.test\.ts$|\/testing\/|\/test\//.test(path);
}

/** The package names that a TypeScript file imports: no relative paths, no Node modules, no subpaths. */
export function importedPackages(path: string): readonly string[] {
  const source = readFileSync(join(repository, path), "utf8");
  const statements = /^(?:import|export)\b[^;"'`=]*?\bfrom "([^"]+)";|^import "([^"]+)";|\bimport\("([^"]+)"\)/gm;
  const specifiers = [...source.matchAll(statements)].map(([, from, bare, dynamic]) => from ?? bare ?? dynamic!);
  const names = specifiers
    .filter((specifier) => !specifier.startsWith(".") && !specifier.startsWith("node:"))
    .map((specifier) =>
      specifier
        .split("/")
        .slice(0, specifier.startsWith("@") ? 2 : 1)
        .join("/"),
    );
  return [...new Set(names)];
}
