import { fileURLToPath } from "node:url";
import { availableBackends } from "@kvant/kernels";
import { describe, expect, test } from "vitest";
import { goldenFailures } from "../test/golden-check.ts";

describe.each(availableBackends())("golden models on $name", ({ create, reason }) => {
  if (create === undefined) {
    console.info(`SKIPPED: ${reason}`);
    test.skip(reason, () => undefined);
    return;
  }
  test.each(["llama", "llama-tied", "mistral", "qwen2", "qwen3"])(
    "%s has the stored logits and greedy text",
    async (name) => {
      const folder = fileURLToPath(new URL(`../test/golden-models/${name}`, import.meta.url));
      expect(await goldenFailures(folder, create())).toEqual([]);
    },
  );
});
