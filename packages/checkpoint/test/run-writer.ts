// A process that writes a checkpoint, for tests of what stays behind when it cannot: `run-writer.ts <out> <parts> <mode>`.
// It prints one line of JSON when the writer fails; in the mode `hang` it waits to be killed in the middle of a part's life.
import { readdirSync } from "node:fs";
import { dirname } from "node:path";
import { errorCode } from "@kvant/core";
import { CheckpointWriter } from "../src/index.ts";

const [out, partCount, mode] = process.argv.slice(2) as [string, string, "hang" | "fresh" | "resumable"];
const writer = new CheckpointWriter(out, mode === "fresh" ? {} : { resumeKey: "key" });
const data = new Uint8Array(100_000).fill(7);
try {
  for (let part = 0; part < Number(partCount); part++) {
    const name = `part-${String(part).padStart(3, "0")}`;
    if (!writer.has(name))
      writer.writePart(name, new Map([[`${name}.weight`, { dtype: "U8", shape: [100_000], data }]]));
  }
  if (mode === "hang") {
    console.log("written");
    await new Promise((resolve) => setTimeout(resolve, 600_000));
  }
  writer.finish({ config: {} });
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  console.log(JSON.stringify({ code: errorCode(error), message, left: readdirSync(dirname(out)) }));
}
