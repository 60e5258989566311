import type { Architecture } from "./architecture.ts";

/** Qwen3: a norm on every query and key head. */
export const qwen3: Architecture = {
  name: "Qwen3ForCausalLM",
  traits: ({ attentionBias }) => ({
    qkvBias: attentionBias,
    outputBias: attentionBias,
    mlpBias: false,
    headNorm: true,
  }),
};
