import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The folder of models and data that lies beside the repository; `KVANT_SHARED` names another place. */
export const sharedData =
  process.env.KVANT_SHARED ?? fileURLToPath(new URL("../../../../shared/data", import.meta.url));

/** Why tests on shared data are skipped, or `undefined` if the data is there. */
export const sharedDataAbsent = existsSync(sharedData)
  ? undefined
  : `SKIPPED: no model data in ${sharedData} (set KVANT_SHARED)`;
if (sharedDataAbsent !== undefined) console.warn(sharedDataAbsent);
