import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const repository = fileURLToPath(new URL("../..", import.meta.url));

/** The fields of package.json that the checks read. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly type?: string;
  readonly description?: string;
  readonly license?: string;
  readonly engines?: Readonly<Record<string, string>>;
  readonly repository?: { readonly type: string; readonly url: string; readonly directory?: string };
  readonly files?: readonly string[];
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly bin?: Readonly<Record<string, string>>;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

export interface WorkspacePackage {
  /** Relative to the repository root, e.g. `packages/formats`. */
  readonly folder: string;
  readonly path: string;
  readonly manifest: Manifest;
}

/** Every package of pnpm-workspace.yaml, in the order of its globs. */
export function workspacePackages(): readonly WorkspacePackage[] {
  return workspaceFolders().map((folder) => {
    const path = join(repository, folder);
    const manifest: Manifest = JSON.parse(readFileSync(join(path, "package.json"), "utf8"));
    return { folder, path, manifest };
  });
}

/** The packages that go to a registry. */
export function publishedPackages(): readonly WorkspacePackage[] {
  return workspacePackages().filter(({ manifest }) => manifest.private !== true);
}

function workspaceFolders(): readonly string[] {
  const lines = readFileSync(join(repository, "pnpm-workspace.yaml"), "utf8").split("\n");
  const globs = lines.slice(lines.indexOf("packages:") + 1);
  const end = globs.findIndex((line) => !line.startsWith("  - "));
  return globs
    .slice(0, end === -1 ? undefined : end)
    .map((line) => line.slice("  - ".length).trim())
    .flatMap((glob) => (glob.endsWith("/*") ? children(glob.slice(0, -2)) : [glob]))
    .filter((folder) => existsSync(join(repository, folder, "package.json")));
}

function children(parent: string): readonly string[] {
  return readdirSync(join(repository, parent))
    .sort()
    .map((name) => `${parent}/${name}`);
}
