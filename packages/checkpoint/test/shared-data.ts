import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = process.env.KVANT_SHARED ?? fileURLToPath(new URL("../../../../shared", import.meta.url));

/** The models and data that lie beside the repository; `KVANT_SHARED` names another folder that holds `data`. */
export const sharedData = join(root, "data");

/** Why tests on shared data are skipped, or `undefined` if the data is there. */
export const sharedDataAbsent = existsSync(sharedData)
  ? undefined
  : `SKIPPED: no model data in ${sharedData} (set KVANT_SHARED)`;
if (sharedDataAbsent !== undefined) console.warn(sharedDataAbsent);
