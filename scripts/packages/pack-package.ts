import { existsSync } from "node:fs";
import { join } from "node:path";
import { environment } from "../workspace.mjs";
import { runCommand } from "./run-command.ts";
import type { WorkspacePackage } from "./workspace-packages.ts";

/**
 * Packs a package as a registry would receive it. `workspace:` versions become real ones.
 * @returns the path of the tarball
 * @throws Error when the package is not built or pnpm fails
 */
export async function packPackage({ manifest, path }: WorkspacePackage, destination: string): Promise<string> {
  for (const target of builtFiles(manifest.exports)) {
    if (!existsSync(join(path, target))) {
      throw new Error(`${manifest.name}: ${target} does not exist; run "npm run build" first`);
    }
  }
  const args = ["pack", "--json", "--pack-destination", destination];
  const { status, stdout, stderr } = await runCommand("pnpm", args, { cwd: path, environment, timeoutSeconds: 60 });
  if (status !== 0) throw new Error(`${manifest.name}: pnpm pack failed\n${stdout}${stderr}`);
  const { filename }: { filename: string } = JSON.parse(stdout);
  return filename;
}

/** Every file that the export map names, apart from the sources, which are not shipped. */
function builtFiles(exports: unknown): readonly string[] {
  if (typeof exports === "string") return exports.includes("*") ? [] : [exports];
  if (typeof exports !== "object" || exports === null) return [];
  return Object.entries(exports)
    .filter(([condition]) => condition !== "@kvant/source")
    .flatMap(([, target]) => builtFiles(target));
}
