import { readFileSync } from "node:fs";
import { join } from "node:path";
import { availableBackends } from "@kvant/kernels";
import { describe, expect, test } from "vitest";
import { continuation, loadFolder, logitsOf } from "../test/model-runner.ts";
import { sharedData } from "../test/shared-data.ts";

// The goldens are float64. Float32 logits of these models stay within 1e-4 of them, so a choice whose margin is larger
// cannot flip.
const safeMargin = 1e-3;

interface Continuation {
  readonly prompt_ids: number[];
  readonly new_ids: number[];
  readonly min_margin: number;
}

const trained = ["stories260K", "babyllama-tok105"].map((name) => ({ name, ...sharedData(`models/${name}`) }));
const random = sharedData("models/tiny-random-llama-fp16");

describe.each(availableBackends())("trained checkpoints on $name", ({ create, reason }) => {
  if (create === undefined) {
    console.info(`SKIPPED: ${reason}`);
    test.skip(reason, () => undefined);
    return;
  }
  for (const { name, folder, reason: absent } of trained) {
    const title = folder === undefined ? absent : `${name} continues prompts as the float64 golden does`;
    test.skipIf(folder === undefined)(title, async () => {
      const golden = readJson<{ f32: { greedy: Continuation[] } }>(join(folder!, "golden.json"));
      const model = loadFolder(folder!, create(), { weights: "fp32", kvFormat: "fp32" });
      const clear = golden.f32.greedy.filter(({ min_margin }) => min_margin > safeMargin);
      expect(clear.length).toBeGreaterThan(0);
      for (const { prompt_ids, new_ids } of clear) {
        expect(await continuation(model, prompt_ids, new_ids.length)).toEqual(new_ids);
      }
      await model.executable.close();
    });
  }

  const title =
    random.folder === undefined ? random.reason : "a random fp16 checkpoint has the golden's most likely tokens";
  test.skipIf(random.folder === undefined)(title, async () => {
    const golden = readJson<{ input_ids: number[]; argmax: number[]; last_logits_first_256: number[] }>(
      join(random.folder!, "golden.json"),
    );
    const model = loadFolder(random.folder!, create(), { weights: "fp32", kvFormat: "fp32" });
    const { vocabSize } = model.plan;
    const logits = await logitsOf(model, golden.input_ids);
    const argmax = golden.input_ids.map((_, token) => {
      const row = logits.subarray(token * vocabSize, (token + 1) * vocabSize);
      return row.indexOf(row.reduce((a, b) => Math.max(a, b)));
    });
    expect(argmax).toEqual(golden.argmax);
    const last = logits.subarray((golden.input_ids.length - 1) * vocabSize);
    golden.last_logits_first_256.forEach((value, id) => {
      expect(Math.abs(last[id]! - value)).toBeLessThan(1e-4);
    });
    await model.executable.close();
  });
});

function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, "utf8")) as T;
}
