import type { Architecture } from "./architecture.ts";

/** Qwen2 and Qwen2.5: biases on q, k and v, which config.json does not mention. */
export const qwen2: Architecture = {
  name: "Qwen2ForCausalLM",
  traits: () => ({ qkvBias: true, outputBias: false, mlpBias: false, headNorm: false }),
};
