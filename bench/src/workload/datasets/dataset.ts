import type { PlannedPrompt } from "../../load/planned-request.ts";

/** What is asked at once, and how long the answer may be. */
export interface Ask {
  readonly prompt: PlannedPrompt;
  /** As the workload wants it: exact for ids, about right for words, absent for texts of files. */
  readonly promptTokens?: number;
  readonly maxTokens: number;
}

/** What one arrival brings: a single request, or the turns of a conversation. At least one. */
export type Dialogue = readonly Ask[];

export interface Dataset {
  /** `random, 512 tokens in, 128 out`: a part of the workload's description. */
  readonly description: string;
  /** The length of an answer belongs to the workload, so that models are made to keep it. */
  readonly isFixedLength: boolean;
  /** Without end: what is finite starts over. The same seed gives the same. */
  dialogues(seed: number): IterableIterator<Dialogue>;
}

/** Lengths beyond which synthetic prompts and answers are cut. */
export interface LengthLimits {
  readonly maxInputTokens?: number;
  readonly maxOutputTokens?: number;
}

/** `, cut to at most 4096 in and 512 out`; empty without limits. */
export function describeLimits({ maxInputTokens, maxOutputTokens }: LengthLimits): string {
  const parts = [
    ...(maxInputTokens === undefined ? [] : [`${maxInputTokens} in`]),
    ...(maxOutputTokens === undefined ? [] : [`${maxOutputTokens} out`]),
  ];
  return parts.length === 0 ? "" : `, cut to at most ${parts.join(" and ")}`;
}

/** A turn of a conversation: a text is what the user says. */
export function asChat(prompt: PlannedPrompt): PlannedPrompt {
  return prompt.kind === "text" ? { kind: "chat", messages: [{ role: "user", content: prompt.text }] } : prompt;
}
