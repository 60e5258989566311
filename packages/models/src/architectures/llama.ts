import type { Architecture } from "./architecture.ts";

/** Llama 1 to 3.x and everything saved under its class; the two bias flags are the file's. */
export const llama: Architecture = {
  name: "LlamaForCausalLM",
  traits: ({ attentionBias, mlpBias }) => ({
    qkvBias: attentionBias,
    outputBias: attentionBias,
    mlpBias,
    headNorm: false,
  }),
};
