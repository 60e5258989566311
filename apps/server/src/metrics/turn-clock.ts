/**
 * `performance.now()`, read once per turn of the event loop. The tokens of a step come in one turn: reading the clock for each
 * of them would cost more than counting them.
 */
export class TurnClock {
  #now: number | undefined;

  /** Milliseconds. */
  now(): number {
    if (this.#now === undefined) {
      this.#now = performance.now();
      setImmediate(() => {
        this.#now = undefined;
      });
    }
    return this.#now;
  }
}
