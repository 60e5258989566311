import { readFileSync } from "node:fs";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { environment } from "../workspace.mjs";
import { runCommand } from "./run-command.ts";
import { type Manifest, repository } from "./workspace-packages.ts";

/** What publint and attw say against a tarball; empty when nothing. */
export async function lintTarball(manifest: Manifest, tarball: string): Promise<readonly string[]> {
  return [...(await publintFindings(tarball)), ...(await attwFindings(manifest, tarball))];
}

async function publintFindings(tarball: string): Promise<readonly string[]> {
  const bytes = new Uint8Array(readFileSync(tarball));
  const { messages, pkg } = await publint({ pack: { tarball: bytes.buffer }, strict: true });
  return messages.map((message) => `publint: ${formatMessage(message, pkg) ?? message.code}`);
}

/** "Are the types wrong" for consumers that use ES modules. A package without a code entry has no types to be wrong. */
async function attwFindings(manifest: Manifest, tarball: string): Promise<readonly string[]> {
  if (manifest.exports?.["."] === undefined) return [];
  const args = [
    tarball,
    "--profile",
    "esm-only",
    "--no-definitely-typed",
    "--format",
    "ascii",
    "--no-color",
    "--no-emoji",
  ];
  const options = { cwd: repository, environment, timeoutSeconds: 120 };
  const { status, stdout, stderr } = await runCommand("attw", args, options);
  return status === 0 ? [] : [`attw: ${stdout}${stderr}`];
}
