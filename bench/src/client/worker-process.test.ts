import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { WorkerProcess } from "./worker-process.ts";

test("a process that does not end when it is told to is killed", async () => {
  const entry = fileURLToPath(new URL("testing/stuck-worker.mjs", import.meta.url));
  const worker = new WorkerProcess({ entry, args: [], execArgv: [] });
  expect(await worker.next("ready")).toEqual({ type: "ready" });
  await worker.close();
  await worker.close();
});
