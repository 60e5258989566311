import type { RequestRecord } from "../load/request-record.ts";
import { RandomSource } from "../workload/random-source.ts";

export interface RecordSampleLimits {
  readonly records: number;
  /** Of all records together: they are most of the memory. */
  readonly gaps: number;
}

/**
 * An even random sample of records in bounded memory: all of them until a limit is reached; from then on each half of those
 * kept, and each later one with the same probability as those before it.
 */
export class RecordSample {
  readonly #limits: RecordSampleLimits;
  readonly #random = new RandomSource(0, "record sample");
  #records: RequestRecord[] = [];
  #gapCount = 0;
  #probability = 1;

  constructor(limits: RecordSampleLimits) {
    this.#limits = limits;
  }

  get records(): readonly RequestRecord[] {
    return this.#records;
  }

  get isWhole(): boolean {
    return this.#probability === 1;
  }

  add(record: RequestRecord): void {
    if (this.#probability < 1 && this.#random.uniform() >= this.#probability) return;
    this.#records.push(record);
    this.#gapCount += record.gaps.length;
    // One record of more gaps than the limit is kept all the same.
    while (this.#records.length > 1 && this.#isOver()) this.#halve();
  }

  #isOver(): boolean {
    return this.#records.length > this.#limits.records || this.#gapCount > this.#limits.gaps;
  }

  #halve(): void {
    this.#probability /= 2;
    this.#records = this.#records.filter(() => this.#random.uniform() < 0.5);
    this.#gapCount = this.#records.reduce((sum, { gaps }) => sum + gaps.length, 0);
  }
}
