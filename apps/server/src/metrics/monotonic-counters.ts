import type { EngineStats } from "@kvant/engine";

/** The counters of EngineStats, by metric. */
export interface EngineCounts {
  readonly promptTokens: number;
  readonly generationTokens: number;
  readonly prefixQueryTokens: number;
  readonly prefixHitTokens: number;
  readonly saturations: number;
  readonly recomputes: number;
  readonly swaps: number;
}

const names = [
  "promptTokens",
  "generationTokens",
  "prefixQueryTokens",
  "prefixHitTokens",
  "saturations",
  "recomputes",
  "swaps",
] as const satisfies readonly (keyof EngineCounts)[];

/**
 * An engine process counts from zero when it is restarted; Prometheus counters must not. Keeps what earlier processes counted
 * and adds what the present one reports. Counts made after the last scrape before a death are lost with the process.
 */
export class MonotonicCounters {
  readonly #carried = new Map<keyof EngineCounts, number>();
  #last: EngineCounts | undefined;
  #restarts = 0;

  update(stats: EngineStats): EngineCounts {
    const now = countsOf(stats);
    const last = this.#last;
    if (last !== undefined && (stats.restarts !== this.#restarts || names.some((name) => now[name] < last[name]))) {
      for (const name of names) this.#carried.set(name, (this.#carried.get(name) ?? 0) + last[name]);
    }
    this.#last = now;
    this.#restarts = stats.restarts;
    const total = (name: keyof EngineCounts) => now[name] + (this.#carried.get(name) ?? 0);
    return {
      promptTokens: total("promptTokens"),
      generationTokens: total("generationTokens"),
      prefixQueryTokens: total("prefixQueryTokens"),
      prefixHitTokens: total("prefixHitTokens"),
      saturations: total("saturations"),
      recomputes: total("recomputes"),
      swaps: total("swaps"),
    };
  }
}

function countsOf(stats: EngineStats): EngineCounts {
  return {
    promptTokens: stats.promptTokens,
    generationTokens: stats.generationTokens,
    prefixQueryTokens: stats.prefixQueryTokens,
    prefixHitTokens: stats.prefixHitTokens,
    saturations: stats.saturations,
    recomputes: stats.preemptions.recompute,
    swaps: stats.preemptions.swap,
  };
}
