import { KvantError } from "@kvant/core";
import type { Distribution } from "./distribution.ts";
import { invalidOption } from "./invalid-option.ts";
import { shown } from "./json-values.ts";
import { textLines } from "./text-lines.ts";
import { traceFormatOf, traceRows } from "./traces/trace-rows.ts";

/** The option that spells a distribution, for the sentence of an error; it also says which column of a trace is meant. */
export type CountOption = "inputTokens" | "outputTokens" | "turns";

/** No context is longer than some 10 million tokens. */
const maxCount = 1e8;
/** A load of more than a day is no bench. */
const maxSeconds = 86_400;
/** Beyond it the largest of a million draws is e^40 medians. */
const maxSigma = 8;

const counts = "512, 200-800, normal:512:64, lognormal:512:0.5 or file:PATH";
const times = "2, 1-5, normal:2:0.5, lognormal:2:0.5 or exponential:2";

/**
 * Tokens or turns: `512`, `200-800`, `normal:MEAN:DEVIATION`, `lognormal:MEDIAN:SIGMA`, `file:PATH`.
 * @throws KvantError INVALID_ARGUMENT
 */
export function parseCounts(text: string, option: CountOption): Distribution {
  if (text.startsWith("file:")) return countsOfFile(text.slice("file:".length), option);
  const parsed = parse(text, maxCount);
  const isWhole =
    (parsed?.kind !== "fixed" || isCount(parsed.value)) &&
    (parsed?.kind !== "uniform" || (isCount(parsed.low) && isCount(parsed.high)));
  if (parsed !== undefined && parsed.kind !== "exponential" && isWhole) return parsed;
  throw invalidOption(option, `${option} is ${shown(text)}; give ${counts}, of whole numbers from 1 to ${maxCount}`);
}

/**
 * Seconds: `2`, `1-5`, `normal:MEAN:DEVIATION`, `lognormal:MEDIAN:SIGMA`, `exponential:MEAN`.
 * @throws KvantError INVALID_ARGUMENT
 */
export function parseSeconds(text: string, option: "thinkSeconds"): Distribution {
  const parsed = parse(text, maxSeconds);
  if (parsed !== undefined) return parsed;
  throw invalidOption(option, `${option} is ${shown(text)}; give ${times}, of numbers from 0 to ${maxSeconds}`);
}

function parse(text: string, most: number): Distribution | undefined {
  const [, kind, numbers] = /^(?:([a-z]+):)?([\d.:-]+)$/.exec(text) ?? [];
  const values = numbers?.split(kind === undefined ? "-" : ":").map(numberOf) ?? [];
  if (values.some((value) => !(value <= most))) return undefined;
  const [first, second] = values;
  if (first === undefined || values.length > 2) return undefined;
  if (second === undefined) {
    if (kind === undefined) return { kind: "fixed", value: first };
    return kind === "exponential" ? { kind, mean: first } : undefined;
  }
  if (kind === undefined) return first <= second ? { kind: "uniform", low: first, high: second } : undefined;
  if (kind === "normal") return { kind, mean: first, deviation: second };
  return kind === "lognormal" && second <= maxSigma ? { kind, median: first, sigma: second } : undefined;
}

/** NaN for what is not digits with or without a fraction: `Number` would also take an empty text and `1e5`. */
function numberOf(text: string): number {
  return /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 1;
}

/** One integer per line, or a trace; what is 0 there (a request that failed) is left out. */
function countsOfFile(path: string, option: CountOption): Distribution {
  try {
    const values = Float64Array.from(isTrace(path, option) ? traceCounts(path, option) : lineCounts(path, option));
    if (values.length > 0) return { kind: "empirical", values, path };
  } catch (cause) {
    // A trace blames the dataset's file.
    if (cause instanceof KvantError) throw new KvantError(cause.code, cause.message, { cause, field: option });
    throw cause;
  }
  throw invalidOption(option, `${path}: holds no lengths`);
}

function isTrace(path: string, option: CountOption): boolean {
  for (const { text } of textLines(path, option)) return traceFormatOf(text) !== undefined;
  return false;
}

function* traceCounts(path: string, option: CountOption): Generator<number> {
  for (const { promptTokens, outputTokens } of traceRows(path)) {
    const count = option === "outputTokens" ? outputTokens : promptTokens;
    if (count > 0) yield count;
  }
}

function* lineCounts(path: string, option: CountOption): Generator<number> {
  for (const { number, text } of textLines(path, option)) {
    const value = numberOf(text.trim());
    if (!isCount(value) || value > maxCount) {
      throw invalidOption(
        option,
        `${path}: line ${number} is ${shown(text)}, not a whole number from 1 to ${maxCount}`,
      );
    }
    yield value;
  }
}
