import { readFileSync } from "node:fs";
import { KvantError } from "@kvant/core";
import { uniforms } from "../uniforms.ts";

export interface CalibrationOptions {
  /** Text files, or JSON lines with a field `text` or `prompt` each (files that end in .jsonl). */
  readonly files: readonly string[];
  /** Sequences. */
  readonly sampleCount: number;
  /** Tokens of each, the beginning of sequence included. */
  readonly sampleTokens: number;
  /** Which parts of the texts are taken. */
  readonly seed: number;
}

/**
 * Cuts calibration sequences out of texts: all texts are encoded one after the other, packed into pieces of `sampleTokens`
 * (each led by the beginning of sequence, where the model has one), and `sampleCount` of the pieces drawn without
 * replacement. The same seed draws the same pieces.
 * @returns `[sampleCount][sampleTokens]` token ids
 * @throws KvantError INVALID_ARGUMENT for files that are missing, empty or no JSON lines, and for too few tokens, saying how many
 * samples there would be
 */
export function calibrationSamples(
  { files, sampleCount, sampleTokens, seed }: CalibrationOptions,
  encode: (text: string) => Int32Array,
  beginningOfSequenceId: number | undefined,
): readonly Int32Array[] {
  if (!(Number.isSafeInteger(sampleCount) && sampleCount >= 1)) {
    throw invalid(`a calibration takes at least 1 sample, not ${sampleCount}`);
  }
  if (!(Number.isSafeInteger(sampleTokens) && sampleTokens >= 2)) {
    throw invalid(`a calibration sample has at least 2 tokens, not ${sampleTokens}`);
  }
  if (files.length === 0) throw invalid("this recipe looks at activations, so it needs calibration text");
  const lead = beginningOfSequenceId === undefined ? [] : [beginningOfSequenceId];
  const pieceTokens = sampleTokens - lead.length;
  const pieces: Int32Array[] = [];
  let rest = new Int32Array(0);
  for (const text of files.flatMap(readTexts)) {
    const ids = encode(text);
    const joined = new Int32Array(rest.length + ids.length);
    joined.set(rest);
    joined.set(ids, rest.length);
    let start = 0;
    for (; start + pieceTokens <= joined.length; start += pieceTokens) {
      pieces.push(Int32Array.of(...lead, ...joined.subarray(start, start + pieceTokens)));
    }
    rest = joined.slice(start);
  }
  if (pieces.length < sampleCount) {
    const sentence = `${files.join(", ")}: enough text for ${pieces.length} samples of ${sampleTokens} tokens, not for ${sampleCount}`;
    throw invalid(`${sentence}; give more text, or ask for fewer or shorter samples`);
  }
  return draw(pieces, sampleCount, seed);
}

function readTexts(path: string): readonly string[] {
  const content = readText(path);
  if (!path.endsWith(".jsonl")) {
    if (content.trim() === "") throw invalid(`${path}: holds no text`);
    return [content];
  }
  const texts = content.split("\n").flatMap((line, index) => (line.trim() === "" ? [] : [lineText(path, index, line)]));
  if (texts.length === 0) throw invalid(`${path}: holds no lines`);
  return texts;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? cause.code : cause;
    throw new KvantError("INVALID_ARGUMENT", `${path}: the calibration text cannot be read (${reason})`, { cause });
  }
}

function lineText(path: string, index: number, line: string): string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new KvantError("INVALID_ARGUMENT", `${path}: line ${index + 1} is not JSON`, { cause });
  }
  const fields: Readonly<Record<string, unknown>> = typeof value === "object" && value !== null ? { ...value } : {};
  const text = fields.text ?? fields.prompt;
  if (typeof text === "string") return text;
  throw invalid(`${path}: line ${index + 1} has no field "text" or "prompt" with a string`);
}

/** The first `count` of a Fisher-Yates shuffle. */
function draw<T>(items: readonly T[], count: number, seed: number): readonly T[] {
  const shuffled = [...items];
  const random = uniforms(seed);
  for (let i = 0; i < count; i++) {
    const other = i + Math.floor(random() * (shuffled.length - i));
    [shuffled[i], shuffled[other]] = [shuffled[other]!, shuffled[i]!];
  }
  return shuffled.slice(0, count);
}

function invalid(sentence: string): KvantError {
  return new KvantError("INVALID_ARGUMENT", sentence, { field: "calibration" });
}
