import { fileURLToPath } from "node:url";
import { availableBackends } from "@kvant/kernels";
import { describe, expect, test } from "vitest";
import { goldenBf16Failures, goldenFailures } from "../test/golden-check.ts";

const names = ["llama", "llama-tied", "mistral", "qwen2", "qwen3"];
const folderOf = (name: string) => fileURLToPath(new URL(`../test/golden-models/${name}`, import.meta.url));

describe.each(availableBackends())("golden models on $name", ({ name, create, reason }) => {
  if (create === undefined) {
    console.info(`SKIPPED: ${reason}`);
    test.skip(reason, () => undefined);
    return;
  }
  // The CUDA backend has a second mode, in which tensor cores may round.
  describe.each(name === "cuda" ? [true, false] : [true])("deterministic %s", (deterministic) => {
    test.each(names)("%s has the stored logits and greedy text", async (model) => {
      expect(await goldenFailures(folderOf(model), create({ deterministic }))).toEqual([]);
    });
    test.each(names)("%s in bf16 stays within the budget of bf16", async (model) => {
      expect(await goldenBf16Failures(folderOf(model), create({ deterministic }))).toEqual([]);
    });
  });
});
