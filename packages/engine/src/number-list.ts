/** A list of numbers that grows and is reused from step to step. */
export class NumberList<Numbers extends Int32Array | Float64Array> {
  readonly #type: new (
    length: number,
  ) => Numbers;
  #values: Numbers;
  length = 0;

  constructor(type: new (length: number) => Numbers, capacity: number) {
    this.#type = type;
    this.#values = new type(capacity);
  }

  push(value: number): void {
    if (this.length === this.#values.length) {
      const grown = new this.#type(this.#values.length * 2);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.length++] = value;
  }

  /** `[length]`; what is pushed after `length` was set back overwrites it. */
  view(): Numbers {
    return this.#values.subarray(0, this.length) as Numbers;
  }
}
