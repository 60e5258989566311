/** Waits grow to this: a machine that is out of memory for a minute should not be asked every second. */
const longestMilliseconds = 30_000;
/** An engine that has served this long is healthy: its next death starts the waits over. */
const healthyMilliseconds = 60_000;

/** How long to wait before an engine process is started again: 0, 1, 2, 4 ... seconds, until one proves healthy. */
export class RestartDelay {
  #deathsInARow = 0;
  #readyAt: number | undefined;

  /** The process serves. @param now milliseconds */
  ready(now: number): void {
    this.#readyAt = now;
  }

  /** The process has died, loaded or not. @returns milliseconds to wait */
  died(now: number): number {
    const wasHealthy = this.#readyAt !== undefined && now - this.#readyAt >= healthyMilliseconds;
    this.#readyAt = undefined;
    this.#deathsInARow = wasHealthy ? 1 : this.#deathsInARow + 1;
    if (this.#deathsInARow === 1) return 0;
    return Math.min(longestMilliseconds, 1000 * 2 ** (this.#deathsInARow - 2));
  }
}
