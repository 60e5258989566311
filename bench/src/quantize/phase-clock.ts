/** What a part of the work is called. */
export const phaseNames = [
  "statistics",
  "gptq",
  "awq scales",
  "awq clipping",
  "output errors",
  "report",
  "forward again",
] as const;
export type PhaseName = (typeof phaseNames)[number];

/** Adds up seconds by phase. Phases do not nest. */
export class PhaseClock {
  readonly #seconds = new Map<PhaseName, number>();
  #startedAt: number | undefined;

  /** Runs work that belongs to a phase. */
  time<Result>(phase: PhaseName, work: () => Result): Result {
    const start = this.#begin();
    try {
      return work();
    } finally {
      this.add(phase, (performance.now() - start) / 1000);
    }
  }

  async timeAsync<Result>(phase: PhaseName, work: () => Promise<Result>): Promise<Result> {
    const start = this.#begin();
    try {
      return await work();
    } finally {
      this.add(phase, (performance.now() - start) / 1000);
    }
  }

  /** Gives a phase all time since the first one began that no other has. */
  stop(rest: PhaseName): void {
    if (this.#startedAt === undefined) return;
    this.add(rest, (performance.now() - this.#startedAt) / 1000 - this.total());
  }

  add(phase: PhaseName, seconds: number): void {
    this.#seconds.set(phase, this.seconds(phase) + seconds);
  }

  seconds(phase: PhaseName): number {
    return this.#seconds.get(phase) ?? 0;
  }

  total(): number {
    return phaseNames.reduce((sum, phase) => sum + this.seconds(phase), 0);
  }

  #begin(): number {
    const now = performance.now();
    this.#startedAt ??= now;
    return now;
  }
}
