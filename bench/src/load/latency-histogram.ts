import hdr from "hdr-histogram-js";
import type { LatencySummary } from "./load-result.ts";

const unitsPerSecond = 1e6;
const highestSeconds = 3600;
const significantDigits = 3;
/** Counts as float64: whole to 2^53. The packed variant of the library records eight times slower, and 184 KiB are little. */
const bitsPerCount = 64;
/** A plot of a page's width shows no more. */
const cumulativePoints = 200;

/**
 * Seconds by their frequency, in constant memory: resolution 1 us up to 2 ms and three significant digits from there to an
 * hour (HdrHistogram; a quantile is the upper end of the bucket that holds its nearest rank, at most 0.1 % too high).
 */
export class LatencyHistogram {
  readonly #histogram = hdr.build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: highestSeconds * unitsPerSecond,
    numberOfSignificantValueDigits: significantDigits,
    bitBucketSize: bitsPerCount,
  });
  #sum = 0;
  #clampedCount = 0;

  get count(): number {
    return this.#histogram.totalCount;
  }

  /** Values that were negative, above an hour or not a number; they count as the end of the range that they are nearest to. */
  get clampedCount(): number {
    return this.#clampedCount;
  }

  /** @param count how often, a whole number of at least 0 */
  record(seconds: number, count = 1): void {
    if (count === 0) return;
    let within = seconds;
    if (!(seconds >= 0 && seconds <= highestSeconds)) {
      within = seconds > highestSeconds ? highestSeconds : 0;
      this.#clampedCount += count;
    }
    this.#sum += within * count;
    const units = Math.round(within * unitsPerSecond);
    if (count === 1) this.#histogram.recordValue(units);
    else this.#histogram.recordValueWithCount(units, count);
  }

  /**
   * @param share from 0 to 1
   * @returns seconds; undefined without values
   */
  quantile(share: number): number | undefined {
    if (this.count === 0) return undefined;
    return this.#histogram.getValueAtPercentile(share * 100) / unitsPerSecond;
  }

  /** undefined without values. */
  summary(): LatencySummary | undefined {
    if (this.count === 0) return undefined;
    const at = (share: number) => this.quantile(share)!;
    return {
      count: this.count,
      mean: this.#sum / this.count,
      min: at(0),
      max: at(1),
      p50: at(0.5),
      p90: at(0.9),
      p95: at(0.95),
      p99: at(0.99),
      p999: at(0.999),
      cumulative: this.#cumulative(),
    };
  }

  /** Half of the points evenly in share, half of them ever nearer to 1, so that the tail is drawn as well as the body. */
  #cumulative(): readonly (readonly [number, number])[] {
    const half = cumulativePoints / 2;
    const body = Array.from({ length: half }, (_, i) => i / half);
    const tail = Array.from({ length: half }, (_, i) => 1 - 10 ** ((-4 * i) / (half - 1)));
    const shares = [...new Set([...body, ...tail, 1])].sort((a, b) => a - b);
    const points: [number, number][] = [];
    for (const share of shares) {
      const seconds = this.quantile(share)!;
      const last = points.at(-1);
      // Where many shares fall on one value, the value's highest share is the one at or below it.
      if (last !== undefined && last[0] === seconds) last[1] = share;
      else points.push([seconds, share]);
    }
    return points;
  }
}
