import type { RequestRecord } from "../load/request-record.ts";
import type { LoadBins } from "./load-run.ts";
import { forEachChunk } from "./record-chunks.ts";

const firstBinSeconds = 0.25;
/** As many as a wide plot has points; a load that outgrows them gets bins of twice the width. */
const mostBins = 1200;

/** Counts what happened over time. */
export class LoadBinsCounter {
  #binSeconds = firstBinSeconds;
  readonly #outputTokens: number[] = [];
  readonly #started: number[] = [];
  readonly #ended: number[] = [];
  readonly #failures: number[] = [];

  add(record: RequestRecord): void {
    this.#count(this.#started, record.sentAt, 1);
    this.#count(this.#ended, record.endedAt, 1);
    if (record.failure !== undefined) this.#count(this.#failures, record.endedAt, 1);
    forEachChunk(record, (at, tokens) => this.#count(this.#outputTokens, at, tokens));
  }

  /** @param until seconds: there are bins up to there, empty ones too */
  bins(until: number): LoadBins {
    const wanted = Math.min(mostBins, Math.ceil(until / this.#binSeconds));
    const binCount = Math.max(1, wanted, this.#started.length, this.#ended.length, this.#outputTokens.length);
    const padded = (bins: readonly number[]) => Array.from({ length: binCount }, (_, i) => bins[i] ?? 0);
    let open = 0;
    const inFlight = padded([]).map((_, i) => {
      open += (this.#started[i] ?? 0) - (this.#ended[i] ?? 0);
      return open;
    });
    return {
      binSeconds: this.#binSeconds,
      outputTokens: padded(this.#outputTokens),
      requestsStarted: padded(this.#started),
      requestsEnded: padded(this.#ended),
      failures: padded(this.#failures),
      inFlight,
    };
  }

  #count(bins: number[], at: number, count: number): void {
    while (at >= mostBins * this.#binSeconds) this.#widen();
    const bin = Math.max(0, Math.floor(at / this.#binSeconds));
    while (bins.length <= bin) bins.push(0);
    bins[bin]! += count;
  }

  #widen(): void {
    this.#binSeconds *= 2;
    for (const bins of [this.#outputTokens, this.#started, this.#ended, this.#failures]) {
      const half = Math.ceil(bins.length / 2);
      for (let i = 0; i < half; i++) bins[i] = bins[2 * i]! + (bins[2 * i + 1] ?? 0);
      bins.length = half;
    }
  }
}
