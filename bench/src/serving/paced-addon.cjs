// A native addon that computes nothing: every step takes KVANT_PACE_MS milliseconds (default 14) and draws tokens at random.
// With it `kvant bench serve` shows what a step costs the two processes around the device, on a machine that has no device:
//   KVANT_NATIVE=bench/src/serving/paced-addon.cjs npx kvant bench serve --prompt-tokens 16

const stepMilliseconds = Number(process.env.KVANT_PACE_MS ?? 14);
/** `rowWants.sample`: see packages/kernels. */
const sampleWant = 1;

class PacedExecutable {
  #plan;
  /** When the last step that was submitted ends: steps run one after the other. */
  #freeAt = 0;
  #random = 1;

  constructor(plan) {
    this.#plan = plan;
  }

  submit({ rowWants }, done) {
    const rows = rowWants.length;
    const now = performance.now();
    this.#freeAt = Math.max(now, this.#freeAt) + stepMilliseconds;
    const result = {
      sampledIds: Int32Array.from(rowWants, (wants) => (wants === sampleWant ? this.#draw() : -1)),
      sampledLogprobs: new Float32Array(rows).fill(Number.NaN),
      topIds: new Int32Array(),
      topLogprobs: new Float32Array(),
      logits: new Float32Array(),
      scores: new Float32Array(),
      seconds: stepMilliseconds / 1000,
      saturations: 0,
    };
    setTimeout(() => done(undefined, result), this.#freeAt - now);
  }

  loadWeight() {}

  loadCodes() {}

  warmUp() {}

  variants() {
    return this.#plan.ops.map(({ op }) => op);
  }

  memory() {
    return { weights: this.#plan.weights.map(() => 0), kv: 0, activations: 0 };
  }

  close() {}

  /** From the upper half of the vocabulary: words and their parts, where the lower one has single bytes and control tokens. */
  #draw() {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0;
    const { vocabSize } = this.#plan;
    return Math.floor((vocabSize * (1 + this.#random / 2 ** 32)) / 2);
  }
}

module.exports = {
  abi: 8,
  info: () => ({
    tier: "paced",
    tiers: ["paced"],
    refusedTiers: {},
    cores: 1,
    compiler: "none",
    cudaAbsent: "this addon paces",
  }),
  createExecutable: (plan) => new PacedExecutable(plan),
};
