import type { MagnitudeCollector } from "../model/quantize-runtime.ts";
import type { MagnitudeHistogram } from "./quantization-report.ts";

const binsPerOctave = 2;
const lowExponent = -30;
const highExponent = 20;
const binCount = (highExponent - lowExponent) * binsPerOctave;

/** Counts magnitudes in half-octave bins from 2^-30 to 2^20; what lies beyond counts in the first or last bin. */
export class MagnitudeCounts implements MagnitudeCollector {
  readonly #counts = new Float64Array(binCount);
  #zeroCount = 0;

  add(values: Float32Array): void {
    for (let i = 0; i < values.length; i++) {
      const magnitude = Math.abs(values[i]!);
      if (magnitude === 0) this.#zeroCount++;
      else this.#counts[binOf(magnitude)]!++;
    }
  }

  /** Adds counts of the same bins that were made elsewhere. */
  addCounts(
    counts: Float64Array, // [100]
    zeroCount: number,
  ): void {
    for (let bin = 0; bin < binCount; bin++) this.#counts[bin]! += counts[bin]!;
    this.#zeroCount += zeroCount;
  }

  /** The counts without empty bins at both ends. */
  histogram(): MagnitudeHistogram {
    const first = this.#counts.findIndex((count) => count > 0);
    if (first === -1) return { lowExponent: 0, binsPerOctave, counts: [], zeroCount: this.#zeroCount };
    const last = this.#counts.findLastIndex((count) => count > 0);
    return {
      lowExponent: lowExponent + first / binsPerOctave,
      binsPerOctave,
      counts: [...this.#counts.subarray(first, last + 1)],
      zeroCount: this.#zeroCount,
    };
  }
}

/** The histogram of an array of magnitudes, such as scales. */
export function magnitudeHistogram(values: Float32Array): MagnitudeHistogram {
  const counts = new MagnitudeCounts();
  counts.add(values);
  return counts.histogram();
}

function binOf(magnitude: number): number {
  const bin = Math.floor((Math.log2(magnitude) - lowExponent) * binsPerOctave);
  return Math.min(binCount - 1, Math.max(0, bin));
}
