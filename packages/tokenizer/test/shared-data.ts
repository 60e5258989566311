import { existsSync } from "node:fs";
import { join } from "node:path";

/** The folder of large test data, beside the repository unless KVANT_SHARED says otherwise. */
const root = process.env.KVANT_SHARED ?? join(import.meta.dirname, "../../../../shared");

/** A folder of the test data with the reason to skip when it is absent, which is printed. */
export function sharedData(name: string): { path: string; missing: boolean } {
  const path = join(root, "data", name);
  const missing = !existsSync(path);
  if (missing)
    console.warn(`skipped: test data ${path} is absent; set KVANT_SHARED to the folder that holds data/${name}`);
  return { path, missing };
}
