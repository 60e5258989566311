import type { Executable, Plan } from "@kvant/kernels";
import { rowChunks } from "./row-chunks.ts";

// Values per period of the random stream. Weights are cut from it at shifting offsets: drawing billions of values would take
// longer than the measurement that needs them.
const period = 1 << 20;

/**
 * Fills a plan with random weights, for measuring speed without a checkpoint: matrices of magnitude 2^-7 to 2^-5 with random
 * signs, norms of ones, biases of zeros. The same seed gives the same weights.
 */
export function loadRandomWeights(
  plan: Plan,
  executable: Pick<Executable, "loadWeight" | "loadWeightRows">,
  seed: number,
): void {
  const stream = randomBfloat16(seed);
  let offset = 0;
  let buffer = new Uint16Array();
  for (const weight of plan.weights) {
    const { id, class: kind, rows, cols } = weight;
    for (const chunk of rowChunks([weight], 2, executable)) {
      const count = chunk.rows * cols;
      if (buffer.length < count) buffer = new Uint16Array(count);
      const values = buffer.subarray(0, count);
      if (kind === "norm") {
        values.fill(0x3f80); // 1
      } else if (kind === "bias") {
        values.fill(0);
      } else {
        for (let start = 0; start < count; ) {
          const run = Math.min(count - start, period - offset);
          values.set(stream.subarray(offset, offset + run), start);
          start += run;
          offset = (offset + run) % period;
        }
      }
      const source = { dtype: "bf16", data: new Uint8Array(values.buffer, 0, values.byteLength) } as const;
      if (chunk.rows === rows) executable.loadWeight(id, source);
      else executable.loadWeightRows?.(id, chunk.firstRow, source);
    }
    if (kind !== "norm" && kind !== "bias") offset = (offset + 7919) % period; // so that equal shapes do not get equal values
  }
}

function randomBfloat16(seed: number): Uint16Array {
  let state = seed >>> 0;
  return Uint16Array.from({ length: period }, () => {
    // xorshift32 (Marsaglia, 2003); 0 is its fixed point.
    state = state === 0 ? 0x9e3779b9 : state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const sign = (state >>> 31) << 15;
    const exponent = (120 + ((state >>> 8) & 1)) << 7;
    return sign | exponent | ((state >>> 16) & 0x7f);
  });
}
