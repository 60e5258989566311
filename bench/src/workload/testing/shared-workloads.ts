import { existsSync } from "node:fs";
import { join } from "node:path";

const root = process.env.KVANT_SHARED ?? join(import.meta.dirname, "../../../../../shared");

/** Published traces and prompts, which lie beside the repository; `KVANT_SHARED` names another folder that holds `data`. */
export const sharedWorkloads = join(root, "data/workloads");

/** Why tests of them are skipped; undefined where they are there. */
export const sharedWorkloadsAbsent = existsSync(sharedWorkloads)
  ? undefined
  : `SKIPPED: no workloads in ${sharedWorkloads} (set KVANT_SHARED)`;
if (sharedWorkloadsAbsent !== undefined) console.warn(sharedWorkloadsAbsent);
