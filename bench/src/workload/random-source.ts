/**
 * Seeded random numbers: Chris Doty-Humphrey's sfc32 (PractRand, public domain). Each use has a stream of its own, named and
 * numbered, so that what one part of a workload draws never moves what another gets: the same prompts come whatever the rate.
 */
export class RandomSource {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /**
   * @param seed and `number`: integers from 0 to 2^32 - 1
   * @param stream what is drawn, such as `arrivals`
   */
  constructor(seed: number, stream: string, number = 0) {
    this.#a = seed | 0;
    this.#b = fnv1a(stream) | 0;
    this.#c = number | 0;
    // As PractRand seeds it: fifteen rounds carry every bit of the seeds to every bit of the state.
    for (let round = 0; round < 15; round++) this.#next();
  }

  /** Uniform in [0, 1), 53 bits. */
  uniform(): number {
    return ((this.#next() >>> 5) * 2 ** 26 + (this.#next() >>> 6)) / 2 ** 53;
  }

  /** A uniform integer from 0 to `count - 1`. */
  below(count: number): number {
    return Math.floor(this.uniform() * count);
  }

  /** Mean 1. */
  exponential(): number {
    return -Math.log(1 - this.uniform());
  }

  /** Mean 0, deviation 1: Box and Muller, one of the pair. */
  normal(): number {
    return Math.sqrt(2 * this.exponential()) * Math.cos(2 * Math.PI * this.uniform());
  }

  /**
   * Mean and variance `shape`, scale 1: G. Marsaglia, W. W. Tsang, "A Simple Method for Generating Gamma Variables", ACM
   * Transactions on Mathematical Software 26 (2000); below shape 1 by its note in section 6, gamma(shape + 1) U^(1 / shape).
   */
  gamma(shape: number): number {
    if (shape < 1) return this.gamma(shape + 1) * (1 - this.uniform()) ** (1 / shape);
    const d = shape - 1 / 3;
    const c = 1 / Math.sqrt(9 * d);
    for (;;) {
      const x = this.normal();
      const v = (1 + c * x) ** 3;
      if (v > 0 && Math.log(1 - this.uniform()) < x ** 2 / 2 + d * (1 - v + Math.log(v))) return d * v;
    }
  }

  #next(): number {
    const drawn = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + drawn) | 0;
    return drawn;
  }
}

/** Fowler, Noll and Vo's hash of 32 bits over UTF-16 code units. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}
