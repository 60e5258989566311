import { type Distribution, describeDistribution, drawCount } from "../distribution.ts";
import type { PromptAlphabet } from "../prompt-alphabet.ts";
import { RandomSource } from "../random-source.ts";
import { asChat, type Dataset, describeLimits, type LengthLimits } from "./dataset.ts";

export interface SyntheticLengths extends LengthLimits {
  readonly inputTokens: Distribution;
  readonly outputTokens: Distribution;
}

/** Prompts of drawn symbols that share nothing. */
export function randomDataset(alphabet: PromptAlphabet, lengths: SyntheticLengths): Dataset {
  return {
    description: `random ${alphabet.unit}, ${describeLengths(lengths)}`,
    isFixedLength: true,
    *dialogues(seed) {
      const [sizes, symbols] = [new RandomSource(seed, "lengths"), new RandomSource(seed, "symbols")];
      for (;;) {
        const promptTokens = drawCount(lengths.inputTokens, sizes, lengths.maxInputTokens);
        const maxTokens = drawCount(lengths.outputTokens, sizes, lengths.maxOutputTokens);
        yield [{ prompt: alphabet.prompt(alphabet.draw(promptTokens, symbols)), promptTokens, maxTokens }];
      }
    },
  };
}

export interface SharedPrefixOptions extends SyntheticLengths {
  readonly families: number;
  readonly prefixTokens: number;
}

/** Families of prompts: `prefixTokens` that all of a family begin with, then `inputTokens` of their own. Families are drawn evenly. */
export function sharedPrefixDataset(alphabet: PromptAlphabet, options: SharedPrefixOptions): Dataset {
  const { families, prefixTokens } = options;
  return {
    description:
      `${families} families of prompts that share ${prefixTokens} random ${alphabet.unit}, ` +
      `then of their own: ${describeLengths(options)}`,
    isFixedLength: true,
    *dialogues(seed) {
      const [sizes, symbols] = [new RandomSource(seed, "lengths"), new RandomSource(seed, "symbols")];
      const choice = new RandomSource(seed, "families");
      for (;;) {
        // Drawn again for each request rather than kept: a thousand long prefixes would fill the memory of each worker.
        const prefix = alphabet.draw(prefixTokens, new RandomSource(seed, "prefix", choice.below(families)));
        const suffix = alphabet.draw(drawCount(options.inputTokens, sizes), symbols);
        const all = [...prefix, ...suffix].slice(0, options.maxInputTokens);
        const maxTokens = drawCount(options.outputTokens, sizes, options.maxOutputTokens);
        yield [{ prompt: alphabet.prompt(all), promptTokens: all.length, maxTokens }];
      }
    },
  };
}

export interface SyntheticConversationOptions extends SyntheticLengths {
  readonly turns: Distribution;
}

/** Conversations whose users say `inputTokens` of words in each turn. Chat has no ids, so they are always words. */
export function syntheticConversations(words: PromptAlphabet, options: SyntheticConversationOptions): Dataset {
  const { turns, inputTokens, outputTokens, maxInputTokens, maxOutputTokens } = options;
  return {
    description: `conversations of ${describeDistribution(turns)} turns of random words, ${describeLengths(options)}`,
    isFixedLength: true,
    *dialogues(seed) {
      const [sizes, symbols] = [new RandomSource(seed, "lengths"), new RandomSource(seed, "symbols")];
      for (;;) {
        yield Array.from({ length: drawCount(turns, sizes) }, () => {
          const said = words.draw(drawCount(inputTokens, sizes, maxInputTokens), symbols);
          return { prompt: asChat(words.prompt(said)), maxTokens: drawCount(outputTokens, sizes, maxOutputTokens) };
        });
      }
    },
  };
}

function describeLengths(lengths: SyntheticLengths): string {
  const [input, output] = [describeDistribution(lengths.inputTokens), describeDistribution(lengths.outputTokens)];
  return `${input} tokens in, ${output} out${describeLimits(lengths)}`;
}
