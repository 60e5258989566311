import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = process.env.KVANT_SHARED ?? fileURLToPath(new URL("../../../../shared", import.meta.url));

/** A folder of the test data that lies beside the repository, or why it is not there. */
export function sharedData(path: string): { readonly folder: string | undefined; readonly reason: string } {
  const folder = join(root, "data", path);
  const present = existsSync(folder);
  if (!present) console.info(`SKIPPED: ${folder} is absent`);
  return { folder: present ? folder : undefined, reason: present ? "" : `SKIPPED: ${folder} is absent` };
}
