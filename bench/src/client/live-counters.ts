import { LatencyHistogram } from "../load/latency-histogram.ts";
import type { LiveLoad, LiveQuantiles } from "./load-run.ts";
import type { WorkerReport } from "./worker-messages.ts";

/** Throughput is of so long: shorter flickers, longer lags. */
const rateSeconds = 1;

/** What a display shows of a running load, from the workers' reports. */
export class LiveCounters {
  readonly #timeToFirstToken = new LatencyHistogram();
  readonly #interToken = new LatencyHistogram();
  readonly #endToEnd = new LatencyHistogram();
  #sent = 0;
  #ended = 0;
  #completed = 0;
  #outputTokens = 0;
  /** `[seconds, tokens by then]`, of the last second or so. */
  #history: (readonly [number, number])[] = [[0, 0]];

  add({ records, sent, chunks, firstTokens, gaps }: WorkerReport): void {
    this.#sent += sent;
    this.#ended += records.length;
    this.#outputTokens += chunks;
    for (const record of records) {
      // Each chunk has counted as one token when it came.
      if (record.firstTokenAt !== undefined) this.#outputTokens += record.outputTokens - record.gaps.length - 1;
      if (record.failure !== undefined) continue;
      this.#completed++;
      this.#endToEnd.record(record.endedAt - record.dueAt);
    }
    for (const seconds of firstTokens) this.#timeToFirstToken.record(seconds);
    for (const seconds of gaps) this.#interToken.record(seconds);
  }

  at(seconds: number): Omit<LiveLoad, "isWarmUp" | "isDraining" | "server"> {
    const timeToFirstToken = quantiles(this.#timeToFirstToken);
    const interToken = quantiles(this.#interToken);
    const endToEnd = quantiles(this.#endToEnd);
    return {
      seconds,
      sent: this.#sent,
      inFlight: Math.max(0, this.#sent - this.#ended),
      completed: this.#completed,
      failed: this.#ended - this.#completed,
      outputTokens: this.#outputTokens,
      outputTokensPerSecond: this.#rate(seconds),
      ...(timeToFirstToken === undefined ? {} : { timeToFirstToken }),
      ...(interToken === undefined ? {} : { interToken }),
      ...(endToEnd === undefined ? {} : { endToEnd }),
    };
  }

  #rate(seconds: number): number {
    this.#history.push([seconds, this.#outputTokens]);
    while (this.#history.length > 2 && this.#history[1]![0] <= seconds - rateSeconds) this.#history.shift();
    const [since, before] = this.#history[0]!;
    return seconds > since ? Math.max(0, (this.#outputTokens - before) / (seconds - since)) : 0;
  }
}

function quantiles(histogram: LatencyHistogram): LiveQuantiles | undefined {
  const [p50, p99] = [histogram.quantile(0.5), histogram.quantile(0.99)];
  return p50 === undefined || p99 === undefined ? undefined : { p50, p99 };
}
