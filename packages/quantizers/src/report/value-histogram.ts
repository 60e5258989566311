import { acceleration } from "../acceleration.ts";
import type { ValueHistogram } from "./quantization-report.ts";

const binCount = 101; // odd, so that zero is the middle of a bin

/** Counts of two arrays over the same equal bins, from minus to plus the largest magnitude of both. */
export function valueHistograms(before: Float32Array, after: Float32Array): readonly [ValueHistogram, ValueHistogram] {
  const { countValues: accelerated } = acceleration();
  if (accelerated !== undefined && before.length === after.length) {
    const { reach, before: first, after: second } = accelerated(before, after, binCount);
    const histogram = (counts: Float64Array) => ({ low: -reach, high: reach, counts: [...counts] });
    return [histogram(first), histogram(second)];
  }
  let reach = 0;
  for (const values of [before, after]) {
    for (let i = 0; i < values.length; i++) {
      const magnitude = Math.abs(values[i]!);
      if (magnitude > reach) reach = magnitude;
    }
  }
  return [countValues(before, reach), countValues(after, reach)];
}

function countValues(values: Float32Array, reach: number): ValueHistogram {
  const counts = new Array<number>(binCount).fill(0);
  const factor = reach === 0 ? 0 : binCount / (2 * reach);
  for (let i = 0; i < values.length; i++) {
    const bin = Math.floor((values[i]! + reach) * factor);
    counts[Math.min(binCount - 1, Math.max(0, bin))]!++;
  }
  return { low: -reach, high: reach, counts };
}
