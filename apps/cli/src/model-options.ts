import { existsSync } from "node:fs";
import { join } from "node:path";
import { readModelConfig } from "@kvant/checkpoint";
import type { EngineOptions } from "@kvant/engine";
import { tinyModelName, tinyModelPath } from "@kvant/tiny-model";
import { type Command, InvalidArgumentError, Option } from "commander";

/** The flags that every command which runs a model takes; names as commander derives them. */
export interface ModelFlags {
  readonly weights?: string;
  readonly headFormat?: string;
  readonly activations?: string;
  readonly kvFormat?: string;
  readonly device?: string;
  readonly backend?: string;
  readonly threads?: number;
  readonly deterministic?: boolean;
  readonly load?: "checkpoint" | "dummy";
  readonly contextLength?: number;
}

/** The flags that size the engine's memory and batches. */
export interface SizeFlags {
  readonly kvMemory?: number;
  readonly kvPages?: number;
  readonly swapMemory?: number;
  readonly pageTokens?: number;
  readonly maxSequences?: number;
  readonly maxStepTokens?: number;
}

export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError(`"${text}" is not a positive integer.`);
  return value;
}

export function nonNegativeInteger(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(value) || value < 0) {
    throw new InvalidArgumentError(`"${text}" is not an integer of at least 0.`);
  }
  return value;
}

export function decimal(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError(`"${text}" is not a number.`);
  return value;
}

export function port(text: string): number {
  const value = nonNegativeInteger(text);
  if (value > 65_535) throw new InvalidArgumentError(`"${text}" is not a port; they go to 65535.`);
  return value;
}

/** `1,2,3`. */
export function tokenIds(text: string): readonly number[] {
  return text.split(",").map((part) => {
    if (!/^\s*\d{1,10}\s*$/.test(part)) {
      throw new InvalidArgumentError(`"${part}" is not a token id; give ids such as 1,2,3.`);
    }
    return Number(part);
  });
}

/** The entries of a comma-separated list; one undefined for a list that was not given. */
export function formatNames(list: string | undefined): readonly (string | undefined)[] {
  return list === undefined ? [undefined] : list.split(",").map((name) => name.trim());
}

type FormatFlag = "weights" | "activations" | "kvFormat";

/** The flag once for each entry of its list; absent for a list that was not given. */
export function eachFormat<Flag extends FormatFlag>(
  flag: Flag,
  list: string | undefined,
): readonly Pick<ModelFlags, Flag>[] {
  return formatNames(list).map((name) => (name === undefined ? {} : { [flag]: name }) as Pick<ModelFlags, Flag>);
}

const units: Readonly<Record<string, number>> = {
  "": 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
};

/** `512MiB`, `2G`, `1000000`. */
export function byteCount(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]?i?)b?$/i.exec(text.trim());
  const unit = units[(match?.[2] ?? "?").toLowerCase()];
  if (match === null || unit === undefined) {
    throw new InvalidArgumentError(`"${text}" is not a size such as 512MiB, 2G or 1000000.`);
  }
  return Math.floor(Number(match[1]) * unit);
}

export function addModelFlags(command: Command): Command {
  return command
    .option("--weights <format>", "weight format, e.g. bf16, int8-channel, int4-g32, e4m3-channel, fp4-g32")
    .option("--head-format <format>", "format of the output head; default: at least 8 bits")
    .option(
      "--activations <format>",
      "fp32, bf16, fp16, int8 or, on cuda, e4m3; default: what the weight format implies",
    )
    .option("--kv-format <format>", "fp32, bf16, fp16, e4m3, e5m2 or int8")
    .option("--device <device>", "cpu, cuda or cuda:N")
    .option("--deterministic", "on cuda, only kernels whose results do not depend on the batch; the CPU's never do")
    .addOption(new Option("--backend <backend>", "run on the plain TypeScript reference").choices(["reference"]))
    .option("--threads <count>", "compute threads of device cpu; default: the machine's cores", positiveInteger)
    .addOption(
      new Option("--load <kind>", "dummy: random weights of a named shape or config.json").choices([
        "checkpoint",
        "dummy",
      ]),
    )
    .option(
      "--context-length <tokens>",
      "serve a shorter context than the model's; with --load dummy any",
      positiveInteger,
    );
}

export function addSizeFlags(command: Command): Command {
  return command
    .option("--kv-memory <bytes>", "bytes for KV pages, e.g. 512MiB", byteCount)
    .option("--kv-pages <count>", "pages per layer group instead of bytes", positiveInteger)
    .option(
      "--swap-memory <bytes>",
      "host memory for pages of preempted sequences; default: on cuda 4GiB at most, else 0",
      byteCount,
    )
    .addOption(
      new Option("--page-tokens <tokens>", "tokens per page").choices(["16", "32", "64"]).argParser(pageTokens),
    )
    .option("--max-sequences <count>", "sequences that run at once", positiveInteger)
    .option("--max-step-tokens <tokens>", "tokens in one step", positiveInteger);
}

function pageTokens(text: string): number {
  const value = positiveInteger(text);
  if (![16, 32, 64].includes(value)) throw new InvalidArgumentError("Allowed choices are 16, 32, 64.");
  return value;
}

/** The folder or shape that MODEL means: nothing and `tiny` are the built-in model. */
export function resolveModel(model: string | undefined): { readonly model: string; readonly servedModelName?: string } {
  if (model === undefined || model === tinyModelName) return { model: tinyModelPath, servedModelName: tinyModelName };
  return { model };
}

/** Leaves out what was not given, so that the engine's own defaults hold. */
export function engineOptions(model: string | undefined, flags: ModelFlags & SizeFlags): EngineOptions {
  const device = flags.backend ?? flags.device;
  return {
    ...resolveModel(model),
    ...pick("load", flags.load),
    ...pick("weights", flags.weights),
    ...pick("headFormat", flags.headFormat),
    ...pick("activations", flags.activations),
    ...pick("kvFormat", flags.kvFormat),
    ...pick("device", device),
    ...pick("threads", flags.threads),
    ...pick("deterministic", flags.deterministic),
    ...pick("contextLength", flags.contextLength),
    ...pick("kvMemoryBytes", flags.kvMemory),
    ...pick("kvPages", flags.kvPages),
    ...pick("swapMemoryBytes", flags.swapMemory),
    ...pick("pageTokens", flags.pageTokens),
    ...pick("maxSequences", flags.maxSequences),
    ...pick("maxStepTokens", flags.maxStepTokens),
  };
}

function pick<K extends string, V>(key: K, value: V | undefined): { readonly [key in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [key in K]: V });
}

/**
 * `serve` and `generate` quantize unless told otherwise; other commands take the stored format. A checkpoint that is quantized
 * itself is served as it is, its KV cache in the format that it brings scales for.
 */
export function servingDefaults(
  model: string | undefined,
  { load }: Pick<ModelFlags, "load">,
): Pick<ModelFlags, "weights" | "kvFormat"> {
  const folder = resolveModel(model).model;
  const isFolder = load !== "dummy" && existsSync(join(folder, "config.json"));
  const quantization = isFolder ? readModelConfig(folder).quantization : undefined;
  if (quantization === undefined) return { weights: "int8-channel", kvFormat: "int8" };
  return { kvFormat: quantization.kv?.format ?? "int8" };
}
