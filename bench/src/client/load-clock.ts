const readings = 8;

/**
 * Seconds after the start of a load, the same in every process of a machine: `process.hrtime` reads the system's monotonic
 * clock, which does not depend on when a process started, and `performance.now` is that clock at a known offset and cheap to read.
 */
export class LoadClock {
  readonly #startMilliseconds: number;

  /** @param startNanoseconds a moment of `process.hrtime.bigint()`, of this process or of another one */
  constructor(startNanoseconds: bigint) {
    // Time that passes between the two readings moves the start back; the latest of several is the nearest.
    this.#startMilliseconds = Math.max(
      ...Array.from(
        { length: readings },
        () => performance.now() - Number(process.hrtime.bigint() - startNanoseconds) / 1e6,
      ),
    );
  }

  /** Negative before the start. */
  now(): number {
    return (performance.now() - this.#startMilliseconds) / 1000;
  }
}
