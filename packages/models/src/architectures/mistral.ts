import type { Architecture } from "./architecture.ts";

/** Llama without biases; its sliding window comes with the configuration's `windows`. */
export const mistral: Architecture = {
  name: "MistralForCausalLM",
  traits: () => ({ qkvBias: false, outputBias: false, mlpBias: false, headNorm: false }),
};
