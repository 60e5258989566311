import { existsSync, mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { environment } from "../workspace.mjs";
import { runCommand } from "./run-command.ts";
import { repository, type WorkspacePackage } from "./workspace-packages.ts";

/**
 * Installs packages from their tarballs into a new project outside the repository. The network is never asked: our own
 * packages come from `tarballs`, and every other dependency is linked to the version that the workspace has installed.
 * Only declared dependencies can be imported, as in any pnpm project.
 * @param names what the README's install line asks for
 * @throws Error when a name is neither ours nor installed in the workspace, or when pnpm fails
 */
export async function installIntoEmptyProject(
  folder: string,
  names: readonly string[],
  packages: readonly WorkspacePackage[],
  tarballs: ReadonlyMap<string, string>,
): Promise<void> {
  const overrides = new Map([...tarballs].map(([name, tarball]) => [name, `file:${tarball}`]));
  for (const { path, manifest } of packages) {
    for (const name of Object.keys({ ...manifest.dependencies, ...manifest.devDependencies })) {
      const installed = join(path, "node_modules", name);
      if (!overrides.has(name) && existsSync(installed)) overrides.set(name, `link:${realpathSync(installed)}`);
    }
  }
  overrides.set("@types/node", `link:${realpathSync(join(repository, "node_modules/@types/node"))}`);
  const missing = names.find((name) => !overrides.has(name));
  if (missing !== undefined) throw new Error(`the README installs ${missing}, which the workspace does not have`);

  mkdirSync(folder, { recursive: true });
  const wanted = ["@types/node", ...names].map((name) => [name, overrides.get(name)!]);
  const manifest = { name: "empty-project", private: true, type: "module", dependencies: Object.fromEntries(wanted) };
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest, undefined, 2));
  const lines = [...overrides].map(([name, target]) => `  ${JSON.stringify(name)}: ${JSON.stringify(target)}`);
  writeFileSync(join(folder, "pnpm-workspace.yaml"), ["pmOnFail: ignore", "overrides:", ...lines, ""].join("\n"));

  // A store of its own: nothing that this machine has fetched before can help.
  const args = ["install", "--offline", "--ignore-scripts", "--store-dir", join(folder, "..", "store")];
  const { status, stdout, stderr } = await runCommand("pnpm", args, { cwd: folder, environment, timeoutSeconds: 120 });
  if (status !== 0) throw new Error(`pnpm install of ${names.join(", ")} failed\n${stdout}${stderr}`);
}
