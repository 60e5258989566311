import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { WorkerCommand } from "../worker-command.ts";

/** Starts client processes from the sources, without the command line. */
export const testWorkerCommand: WorkerCommand = {
  entry: fileURLToPath(new URL("worker-entry.ts", import.meta.url)),
  args: [],
  execArgv: [
    "--conditions=@kvant/source",
    "--import",
    pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href,
  ],
};
