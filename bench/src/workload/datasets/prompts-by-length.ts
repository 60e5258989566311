import { readFileSync } from "node:fs";
import { KvantError } from "@kvant/core";
import { type Distribution, describeDistribution, drawCount } from "../distribution.ts";
import { invalidOption, unreadable } from "../invalid-option.ts";
import { type Fields, isObject, shown } from "../json-values.ts";
import { RandomSource } from "../random-source.ts";
import { type Dataset, describeLimits, type LengthLimits } from "./dataset.ts";

export interface PromptsByLengthOptions extends LengthLimits {
  /** A JSON object from token counts to texts of about that length, as onnxruntime-genai's benchmark has it. */
  readonly path: string;
  /** The text of the length nearest to the one drawn is asked; absent: any text. */
  readonly inputTokens?: Distribution;
  readonly outputTokens: Distribution;
}

interface SizedText {
  readonly tokens: number;
  readonly text: string;
}

const field = "datasetFile";

export function promptsByLength(options: PromptsByLengthOptions): Dataset {
  const { path, inputTokens, outputTokens, maxInputTokens = Infinity, maxOutputTokens } = options;
  const all = readTexts(path);
  const texts = all.filter(({ tokens }) => tokens <= maxInputTokens);
  if (texts.length === 0) {
    const shortest = Math.min(...all.map(({ tokens }) => tokens));
    throw invalidOption(
      field,
      `${path}: its shortest text has ${shortest} tokens, and at most ${maxInputTokens} are allowed`,
    );
  }
  const lengths =
    inputTokens === undefined ? "any length" : `the length nearest to ${describeDistribution(inputTokens)}`;
  const leftOut = all.length === texts.length ? "" : `, ${all.length - texts.length} texts left out as too long`;
  return {
    description:
      `texts of ${path}, ${lengths}${leftOut}, ` +
      `${describeDistribution(outputTokens)} tokens out${describeLimits(maxOutputTokens === undefined ? {} : { maxOutputTokens })}`,
    isFixedLength: true,
    *dialogues(seed) {
      const sizes = new RandomSource(seed, "lengths");
      for (;;) {
        const { text, tokens } =
          inputTokens === undefined ? texts[sizes.below(texts.length)]! : nearest(texts, drawCount(inputTokens, sizes));
        const maxTokens = drawCount(outputTokens, sizes, maxOutputTokens);
        yield [{ prompt: { kind: "text", text }, promptTokens: tokens, maxTokens }];
      }
    },
  };
}

function nearest(texts: readonly SizedText[], tokens: number): SizedText {
  return texts.reduce((best, text) => (Math.abs(text.tokens - tokens) < Math.abs(best.tokens - tokens) ? text : best));
}

function readTexts(path: string): readonly SizedText[] {
  const value = readObject(path);
  const texts = Object.entries(value).map(([key, text]): SizedText => {
    if (!/^[1-9]\d*$/.test(key)) throw invalidOption(field, `${path}: the key ${shown(key)} is no number of tokens`);
    if (typeof text === "string" && text !== "") return { tokens: Number(key), text };
    throw invalidOption(field, `${path}: the text for ${key} tokens is ${shown(text)}`);
  });
  if (texts.length === 0) throw invalidOption(field, `${path}: holds no texts`);
  return texts;
}

function readObject(path: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw unreadable(path, field, cause);
    throw new KvantError("INVALID_ARGUMENT", `${path}: is not JSON (${cause.message})`, { cause, field });
  }
  if (isObject(value)) return value;
  throw invalidOption(field, `${path}: is ${shown(value)}, not an object from token counts to texts`);
}
