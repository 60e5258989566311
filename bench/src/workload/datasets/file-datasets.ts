import type { PlannedPrompt } from "../../load/planned-request.ts";
import { type Distribution, describeDistribution, drawCount } from "../distribution.ts";
import { invalidOption } from "../invalid-option.ts";
import { RandomSource } from "../random-source.ts";
import { type Reading, RecordFile } from "../record-file.ts";
import { fileChunks } from "../text-lines.ts";
import { asChat, type Dataset, type LengthLimits } from "./dataset.ts";
import { type Asked, askedByLine, askedByShareGpt, type EntryUse } from "./prompt-entries.ts";

export interface FileDatasetOptions extends LengthLimits {
  readonly path: string;
  readonly shape: "sharegpt" | "lines";
  readonly use: EntryUse;
  /** Absent: as long as the recorded answer, 128 where there is none. */
  readonly outputTokens?: Distribution;
  readonly order: "shuffled" | "file";
}

/** English has about 4 bytes in each token of a vocabulary of 32,000 to 128,000. */
const bytesPerToken = 4;
/** Of an answer that nobody has recorded. */
const unrecordedTokens = 128;

const orders = { shuffled: "shuffled", file: "in the file's order" } as const;

/** A JSON array is ShareGPT's; lines begin with an object. */
export function fileShape(path: string): FileDatasetOptions["shape"] {
  for (const chunk of fileChunks(path, "datasetFile")) {
    return chunk.toString("utf8").trimStart().startsWith("[") ? "sharegpt" : "lines";
  }
  throw invalidOption("datasetFile", `${path}: is empty`);
}

/** Texts of a file, each used once before any is used again. Too long ones are left out, as a text that is cut asks something else. */
export function fileDataset(options: FileDatasetOptions): Dataset {
  const { path, shape, use, order, outputTokens, maxOutputTokens = Infinity } = options;
  let cutAnswers = 0;
  const file = new RecordFile<Asked>({
    path,
    shape: shape === "sharegpt" ? "array" : "lines",
    read: (value, where) => readingOf(options, value, where),
    onEntry: ({ answers = [] }) => {
      cutAnswers += answers.filter((answer) => aboutTokens(answer) > maxOutputTokens).length;
    },
  });
  return {
    description: [
      `${file.count} ${use === "single" ? "prompts" : "conversations"} of ${path}, round after round ${orders[order]}`,
      ...[...file.leftOut].map(([reason, count]) => `${count} left out ${reason}`),
      outputTokens === undefined ? "answers as long as recorded" : `${describeDistribution(outputTokens)} tokens out`,
      ...describeCut(outputTokens === undefined ? cutAnswers : undefined, maxOutputTokens),
    ].join(", "),
    isFixedLength: false,
    *dialogues(seed) {
      const sizes = new RandomSource(seed, "lengths");
      for (const index of entryOrder(file.count, order, seed)) {
        const { turns, answers } = file.at(index);
        yield turns.map((prompt, turn) => {
          const answer = answers?.[turn];
          const recorded = answer === undefined ? unrecordedTokens : aboutTokens(answer);
          const tokens = outputTokens === undefined ? recorded : drawCount(outputTokens, sizes);
          return { prompt: use === "single" ? prompt : asChat(prompt), maxTokens: Math.min(tokens, maxOutputTokens) };
        });
      }
    },
  };
}

function readingOf(options: FileDatasetOptions, value: unknown, where: string): Reading<Asked> {
  const { shape, use, maxInputTokens = Infinity } = options;
  const asked = shape === "sharegpt" ? askedByShareGpt(value, where, use) : askedByLine(value, where, use);
  if (asked === undefined) return { leftOut: "without question and answer" };
  const isTooLong = asked.turns.some((prompt) => aboutTokens(textOf(prompt)) > maxInputTokens);
  return isTooLong ? { leftOut: `longer than about ${maxInputTokens} tokens` } : { entry: asked };
}

function describeCut(count: number | undefined, most: number): readonly string[] {
  if (most === Infinity) return [];
  return [count === undefined ? `answers cut to ${most} tokens` : `${count} answers cut to ${most} tokens`];
}

/** Entry numbers without end, round after round. */
function* entryOrder(count: number, order: "shuffled" | "file", seed: number): Generator<number> {
  const entries = Uint32Array.from({ length: count }, (_, entry) => entry);
  for (let round = 0; ; round++) {
    if (order === "shuffled") shuffle(entries, new RandomSource(seed, "order", round));
    yield* entries;
  }
}

/** R. Durstenfeld, "Algorithm 235: Random permutation", Communications of the ACM 7 (1964). */
function shuffle(entries: Uint32Array, random: RandomSource): void {
  for (let last = entries.length - 1; last > 0; last--) {
    const other = random.below(last + 1);
    [entries[last], entries[other]] = [entries[other]!, entries[last]!];
  }
}

function aboutTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / bytesPerToken);
}

function textOf(prompt: PlannedPrompt): string {
  switch (prompt.kind) {
    case "text":
      return prompt.text;
    case "chat":
      return prompt.messages.map(({ content }) => content).join("\n");
    case "tokens":
      return "";
    default:
      return prompt satisfies never;
  }
}
