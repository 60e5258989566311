import { KvantError } from "@kvant/core";

/** Options of the bench that are no words of a sentence, and their flags. */
const flags: ReadonlyMap<string, string> = new Map(
  Object.entries({
    datasetFile: "--dataset-file",
    datasetOrder: "--dataset-order",
    inputTokens: "--input-tokens",
    outputTokens: "--output-tokens",
    maxInputTokens: "--max-input-tokens",
    maxOutputTokens: "--max-output-tokens",
    ignoreEos: "--ignore-eos",
    vocabularySize: "--vocabulary-size",
    prefixFamilies: "--prefix-families",
    prefixTokens: "--prefix-tokens",
    thinkSeconds: "--think-time",
    durationSeconds: "--duration",
    rampFrom: "--ramp-from",
    rampTo: "--ramp-to",
    timeScale: "--time-scale",
    startOffsetSeconds: "--start-offset",
  }),
);

/**
 * Runs what takes a library's options in the command line's stead: an error that names one of them comes out with the flag that a
 * person typed.
 */
export function namingFlags<Result>(run: () => Result): Result {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof KvantError) || error.field === undefined) throw error;
    const { code, message, field } = error;
    throw new KvantError(code, inFlags(message, field), { cause: error, field });
  }
}

/** `seed is -1` and its like begin with an option that elsewhere would be a word of the sentence. */
function inFlags(sentence: string, field: string): string {
  const isWord = !flags.has(field) && sentence.startsWith(`${field} `);
  return (isWord ? `--${sentence}` : sentence).replace(
    /(?<!["\w/.-])[A-Za-z]+(?!["\w/.])/g,
    (word) => flags.get(word) ?? word,
  );
}
