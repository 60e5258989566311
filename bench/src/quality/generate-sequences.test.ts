import { availableBackends } from "@kvant/kernels";
import { tinyModelPath } from "@kvant/tiny-model";
import { expect, test, vi } from "vitest";
import { evaluate } from "./evaluate.ts";
import { generateSequences } from "./generate-sequences.ts";

// Without the addon everything runs on the reference backend.
vi.setConfig({ testTimeout: 60_000 });

const hasNative = availableBackends().some(({ name, create }) => name.startsWith("cpu") && create !== undefined);
const device = hasNative ? "cpu" : "reference";
const engine = { model: tinyModelPath, weights: "bf16", device, contextLength: 64 };

test("a model's own text has the length asked for, in sequences that fit a window, and repeats with its seed", async () => {
  const draw = (seed: number) => generateSequences({ engine, tokenCount: 200, seed });
  const sequences = await draw(7);
  expect(sequences.reduce((sum, { length }) => sum + length, 0)).toBe(200);
  for (const { length } of sequences) {
    expect(length).toBeGreaterThan(0);
    expect(length).toBeLessThan(64);
  }
  expect(await draw(7)).toEqual(sequences);
  expect(await draw(8)).not.toEqual(sequences);
});

test("a longer text of the same seed begins with the shorter one", async () => {
  const short = await generateSequences({ engine, tokenCount: 40, seed: 3 });
  const long = await generateSequences({ engine, tokenCount: 150, seed: 3 });
  const flat = (sequences: readonly Int32Array[]) => sequences.flatMap((ids) => [...ids]);
  expect(flat(long).slice(0, 40)).toEqual(flat(short));
});

test("on a model's own text the candidate's surprise exceeds the model's by about the divergence", async () => {
  const tokenCount = hasNative ? 6000 : 600;
  const text = await generateSequences({ engine, tokenCount, seed: 1 });
  const candidate = { ...engine, weights: "int4-tensor" };
  const row = await evaluate({ engine: candidate, text, divergence: false, reference: engine });
  expect(row.tokens).toBe(tokenCount);
  expect(row.bitsPerByte).toBeNull();
  const { mean, low, high } = row.nllDifference!;
  // The interval holds it 19 times out of 20; twice as wide, practically always.
  expect(row.klVsReference).toBeGreaterThan(2 * low! - mean);
  expect(row.klVsReference).toBeLessThan(2 * high! - mean);
});

test.each([
  [{ tokenCount: 0, seed: 1 }, "tokenCount"],
  [{ tokenCount: 10, seed: 2 ** 32 }, "seed"],
])("%j is refused", async (options, field) => {
  const refused = generateSequences({ engine, ...options });
  await expect(refused).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field });
});
