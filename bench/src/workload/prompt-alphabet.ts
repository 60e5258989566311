import type { PlannedPrompt } from "../load/planned-request.ts";
import { promptWords } from "./prompt-words.ts";
import type { RandomSource } from "./random-source.ts";

/** What synthetic prompts are spelled with: each symbol is one token, or about one. */
export interface PromptAlphabet {
  /** `[count]` symbols. Pieces are joined by joining their symbols: equal symbols are equal text. */
  draw(count: number, random: RandomSource): readonly number[];
  prompt(symbols: readonly number[]): PlannedPrompt;
  /** `tokens` where they are exact, else `words`. */
  readonly unit: "tokens" | "words";
}

/** Control tokens mostly stand first in a vocabulary. */
const lowestOrdinaryId = 16;

/** Ids below `vocabularySize` where it is known, clear of the first 16; else English words. */
export function promptAlphabet(vocabularySize: number | undefined): PromptAlphabet {
  if (vocabularySize === undefined) {
    return {
      draw: (count, random) => Array.from({ length: count }, () => random.below(promptWords.length)),
      prompt: (symbols) => ({ kind: "text", text: symbols.map((symbol) => promptWords[symbol]).join(" ") }),
      unit: "words",
    };
  }
  const lowest = Math.min(lowestOrdinaryId, vocabularySize - 1);
  return {
    draw: (count, random) => Array.from({ length: count }, () => lowest + random.below(vocabularySize - lowest)),
    prompt: (symbols) => ({ kind: "tokens", tokenIds: symbols }),
    unit: "tokens",
  };
}
