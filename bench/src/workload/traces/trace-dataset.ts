import type { Dataset, LengthLimits } from "../datasets/dataset.ts";
import { type Distribution, describeDistribution, drawCount } from "../distribution.ts";
import type { PromptAlphabet } from "../prompt-alphabet.ts";
import { RandomSource } from "../random-source.ts";
import { Trace, type TraceOptions } from "./trace.ts";
import { hashedPieceTokens, type TraceRow } from "./trace-row.ts";

export interface TraceDatasetOptions extends TraceOptions, LengthLimits {
  /** In place of the trace's own. */
  readonly outputTokens?: Distribution;
}

/**
 * The lengths of a trace, row after row, with prompts made up for them. What the trace says of shared text is kept: equal hash
 * ids of a Mooncake trace give equal pieces of 512 tokens, so that its prompts have the prefixes in common that they had.
 */
export function traceDataset(
  alphabet: PromptAlphabet,
  options: TraceDatasetOptions,
): { trace: Trace; dataset: Dataset } {
  const { maxInputTokens = Infinity, maxOutputTokens = Infinity, outputTokens } = options;
  let [cutPrompts, cutAnswers] = [0, 0];
  const trace = new Trace(options, (row) => {
    if (row.promptTokens > maxInputTokens) cutPrompts++;
    if (outputTokens === undefined && row.outputTokens > maxOutputTokens) cutAnswers++;
  });
  const notes = [
    ...(trace.failedCount === 0 ? [] : [`${trace.failedCount} failed ones left out`]),
    ...(outputTokens === undefined ? [] : [`${describeDistribution(outputTokens)} tokens out`]),
    ...(maxInputTokens === Infinity ? [] : [`${cutPrompts} prompts cut to ${maxInputTokens} tokens`]),
    ...(maxOutputTokens === Infinity
      ? []
      : [`${outputTokens === undefined ? `${cutAnswers} ` : ""}answers cut to ${maxOutputTokens} tokens`]),
  ];
  const dataset: Dataset = {
    description: [`${trace.rowCount} requests of the ${trace.format} trace ${trace.path}`, ...notes].join(", "),
    isFixedLength: true,
    *dialogues(seed) {
      const sizes = new RandomSource(seed, "lengths");
      for (let index = 0; ; ) {
        for (const row of trace.rows()) {
          const promptTokens = Math.min(row.promptTokens, maxInputTokens);
          const prompt = alphabet.prompt(promptSymbols(row, promptTokens, alphabet, seed, index++));
          const drawn = outputTokens === undefined ? row.outputTokens : drawCount(outputTokens, sizes);
          yield [{ prompt, promptTokens, maxTokens: Math.min(drawn, maxOutputTokens) }];
        }
      }
    },
  };
  return { trace, dataset };
}

/** `[count]` symbols: a piece for each hash id, then what is the row's own. */
function promptSymbols(
  { hashIds = [] }: TraceRow,
  count: number,
  alphabet: PromptAlphabet,
  seed: number,
  index: number,
): readonly number[] {
  const symbols: number[] = [];
  for (const id of hashIds) {
    const rest = count - symbols.length;
    if (rest <= 0) return symbols;
    // A short piece is the beginning of the whole one of its id.
    for (const symbol of alphabet.draw(Math.min(rest, hashedPieceTokens), new RandomSource(seed, "piece", id))) {
      symbols.push(symbol);
    }
  }
  if (symbols.length === count) return symbols;
  return [...symbols, ...alphabet.draw(count - symbols.length, new RandomSource(seed, "row", index))];
}
