import { KvantError } from "@kvant/core";

// The upper bits of a float32 magnitude: its exponent and the first six bits of its mantissa. Positive floats sort as their
// bit patterns do, so a bin is an interval, 64 of them per factor of two, from the smallest subnormal to the largest number.
const droppedBits = 17;
const binCount = 255 << (23 - droppedBits);

/** Largest width of a bin beside its lower edge, for normal numbers. */
export const binRelativeWidth = 2 ** -6;

const patterns = new Uint32Array(1);
const numbers = new Float32Array(patterns.buffer);

/**
 * Counts of magnitudes in fixed logarithmic bins: 128 kB however much is observed, and two histograms of the same channel add
 * up to that of both.
 */
export class Log2Histogram {
  readonly #counts = new Float64Array(binCount); // exact to 2^53, where 32 bits end after some thousand long prompts
  #count = 0;
  #largest = 0;

  /** Numbers counted. */
  get count(): number {
    return this.#count;
  }

  /** The largest magnitude, exact. */
  get largest(): number {
    return this.#largest;
  }

  /**
   * @throws KvantError INVALID_ARGUMENT if a value is NaN or infinite; the values before it have been counted
   */
  add(values: Float32Array): void {
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    for (let i = 0; i < bits.length; i++) {
      const bin = (bits[i]! & 0x7fffffff) >>> droppedBits;
      if (bin >= binCount) throw new KvantError("INVALID_ARGUMENT", `activation ${i} is ${values[i]}`);
      this.#counts[bin]!++;
      this.#count++;
      const magnitude = Math.abs(values[i]!);
      if (magnitude > this.#largest) this.#largest = magnitude;
    }
  }

  merge(other: Log2Histogram): void {
    for (let bin = 0; bin < binCount; bin++) this.#counts[bin]! += other.#counts[bin]!;
    this.#count += other.#count;
    this.#largest = Math.max(this.#largest, other.#largest);
  }

  /**
   * An upper bound, at most a bin too high, of the magnitude that a fraction of all numbers does not exceed: the
   * `ceil(fraction * count)`-th smallest one. 0 if nothing was counted.
   */
  quantile(fraction: number): number {
    // 99.9 / 100 is a little above 0.999: the next rank begins a hair later than in exact arithmetic, not a hair earlier.
    const rank = Math.max(1, Math.ceil(fraction * this.#count * (1 - 2 ** -40)));
    let below = 0;
    for (let bin = 0; bin < binCount; bin++) {
      below += this.#counts[bin]!;
      if (below >= rank) return Math.min(upperEdge(bin), this.#largest);
    }
    return this.#largest;
  }

  /** Calls `visit` for every bin that holds something, smallest first, with the interval [lower, upper) that it covers. */
  forEachBin(visit: (lower: number, upper: number, count: number) => void): void {
    for (let bin = 0; bin < binCount; bin++) {
      if (this.#counts[bin]! > 0) visit(lowerEdge(bin), upperEdge(bin), this.#counts[bin]!);
    }
  }
}

function lowerEdge(bin: number): number {
  patterns[0] = bin << droppedBits;
  return numbers[0]!;
}

function upperEdge(bin: number): number {
  return bin + 1 === binCount ? 2 ** 128 : lowerEdge(bin + 1);
}
