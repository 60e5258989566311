import { readFileSync } from "node:fs";
import { join } from "node:path";
import { installIntoEmptyProject } from "./empty-project.ts";
import { lintTarball } from "./lint-tarball.ts";
import { packPackage } from "./pack-package.ts";
import { installedNames, readmeExamples } from "./readme-examples.ts";
import { exampleFindings } from "./run-example.ts";
import { publishedPackages, type WorkspacePackage } from "./workspace-packages.ts";

/** The tarballs of all packages; each package's examples may need those of the others. */
export interface PackedWorkspace {
  readonly folder: string;
  readonly packages: readonly WorkspacePackage[];
  readonly tarballs: ReadonlyMap<string, string>;
}

/** Packs every published package into `folder`. */
export async function packWorkspace(folder: string): Promise<PackedWorkspace> {
  const packages = publishedPackages();
  const tarballs = new Map<string, string>();
  for (const entry of packages) tarballs.set(entry.manifest.name, await packPackage(entry, folder));
  return { folder, packages, tarballs };
}

/**
 * What keeps a package from being installed and used by a stranger: publint, attw, the install from its tarball into an
 * empty project, and the examples of its README there. Empty when nothing does.
 */
export async function packageFindings(packed: PackedWorkspace, entry: WorkspacePackage): Promise<readonly string[]> {
  const { name } = entry.manifest;
  const project = join(packed.folder, name.replace("/", "-"));
  const lint = await lintTarball(entry.manifest, packed.tarballs.get(name)!);
  const names = await installed(project, packed, entry);
  const readme = readFileSync(join(project, "node_modules", name, "README.md"), "utf8");
  const examples = readmeExamples(readme);
  const findings = [...lint];
  if (!names.includes(name)) findings.push(`README has no line "npm install ${name}"`);
  if (!examples.some(({ output }) => output !== undefined)) {
    findings.push("README has no example that shows what it prints");
  }
  for (const example of examples) findings.push(...(await exampleFindings(project, example)));
  return findings;
}

async function installed(project: string, packed: PackedWorkspace, { path, manifest }: WorkspacePackage) {
  const names = installedNames(readFileSync(join(path, "README.md"), "utf8"));
  await installIntoEmptyProject(project, [...new Set([manifest.name, ...names])], packed.packages, packed.tarballs);
  return names;
}
