import { type EvaluateOptions, evaluate, generateSequences } from "@kvant/bench";
import { errorCode, KvantError } from "@kvant/core";
import type { EngineOptions } from "@kvant/engine";
import { kvFormatNames, parseWeightFormat } from "@kvant/formats";
import { costTable, type EvalRow, qualityTable } from "../eval-table.ts";
import { eachFormat, engineOptions, type ModelFlags } from "../model-options.ts";
import { plannedOptions } from "../planned-options.ts";
import { printRow, say } from "../print.ts";
import { loadingBar, progressBar } from "../progress.ts";
import { readText } from "../read-text.ts";
import { costApart } from "./eval-cost.ts";

export interface EvalFlags extends ModelFlags {
  readonly text?: readonly string[];
  readonly generate?: number;
  readonly seed: number;
  readonly reference?: string | true;
  readonly speed?: boolean;
  readonly chunkTokens?: number;
  readonly kl: boolean;
  readonly json?: boolean;
}

/**
 * Quality, and with `--speed` cost, of every combination of the named models, weight, activation and KV formats on one text;
 * `--kv-format all` names every KV format.
 */
export async function evaluateModels(models: readonly string[], flags: EvalFlags): Promise<void> {
  if ((flags.text === undefined) === (flags.generate === undefined))
    throw new KvantError("INVALID_ARGUMENT", "give either --text FILE or --generate COUNT", { field: "text" });
  const candidates = candidatesOf(models, flags);
  const reference = referenceOf(models, candidates, flags);
  const text = await textOf(reference ?? candidates[0]!, flags);
  const rows: EvalRow[] = [];
  for (const engine of candidates) {
    const row = await measure(engine, reference, text, flags);
    if (flags.json) printRow(row);
    rows.push(row);
  }
  const tables = [qualityTable(rows), ...(flags.speed ? [costTable(rows)] : [])].join("\n\n");
  if (flags.json) say(tables);
  else process.stdout.write(`${tables}\n`);
}

/** Every combination, models outermost. */
function candidatesOf(models: readonly string[], flags: EvalFlags): readonly EngineOptions[] {
  const kvFormats = flags.kvFormat === "all" ? kvFormatNames.join() : flags.kvFormat;
  return (models.length === 0 ? [undefined] : models).flatMap((model) =>
    eachFormat("weights", flags.weights).flatMap((weights) =>
      eachFormat("activations", flags.activations).flatMap((activations) =>
        eachFormat("kvFormat", kvFormats).map((kvFormat) =>
          plannedOptions(model, { ...flags, ...weights, ...activations, ...kvFormat }),
        ),
      ),
    ),
  );
}

/**
 * The model that candidates are compared with: `first`, the first candidate as it is; a weight format, the first model in that
 * format; a model folder, or for the bare flag the first model, as it is stored. All but `first` with a BF16 KV cache. A text
 * that is generated needs one to write it: the first model as it is stored, unless another is named.
 */
function referenceOf(
  models: readonly string[],
  candidates: readonly EngineOptions[],
  flags: EvalFlags,
): EngineOptions | undefined {
  const named = flags.reference ?? (flags.generate === undefined ? undefined : true);
  if (named === undefined) return undefined;
  if (named === "first") return candidates[0];
  const { weights, headFormat, activations, kvFormat, ...shared } = flags;
  if (named === true) return engineOptions(models[0], shared);
  return isWeightFormat(named) ? engineOptions(models[0], { ...shared, weights: named }) : engineOptions(named, shared);
}

function isWeightFormat(name: string): boolean {
  try {
    parseWeightFormat(name);
    return true;
  } catch (error) {
    if (errorCode(error) === "FORMAT_UNKNOWN") return false;
    throw error;
  }
}

async function textOf(
  writer: EngineOptions,
  { text = [], generate, seed }: EvalFlags,
): Promise<EvaluateOptions["text"]> {
  if (generate === undefined) return text.map(readText).join("");
  return withBars("generating", ({ onLoad, onProgress }) =>
    generateSequences({ engine: writer, tokenCount: generate, seed, onLoad, onProgress }),
  );
}

/** Cost comes after quality, when no other model is open. */
async function measure(
  engine: EngineOptions,
  reference: EngineOptions | undefined,
  text: EvaluateOptions["text"],
  { chunkTokens, kl, speed }: EvalFlags,
): Promise<EvalRow> {
  const label = `${engine.weights ?? "stored weights"}, ${engine.kvFormat ?? "bf16"} KV`;
  const quality = await withBars(label, (hooks) =>
    evaluate({
      engine: { ...engine, ...(chunkTokens === undefined ? {} : { chunkTokens }) },
      text,
      divergence: kl,
      ...(reference === undefined ? {} : { reference }),
      ...hooks,
    }),
  );
  return speed ? { ...quality, ...costApart(engine) } : quality;
}

type Hooks = Required<Pick<EvaluateOptions, "onLoad" | "onProgress">>;

/** A bar for loading, then one for the work itself. */
async function withBars<Result>(label: string, work: (hooks: Hooks) => Promise<Result>): Promise<Result> {
  const loading = loadingBar();
  const bar = progressBar(label);
  try {
    return await work({
      onLoad: loading.onProgress,
      onProgress: (done, total) => {
        loading.stop();
        bar.update(done, total);
      },
    });
  } finally {
    loading.stop();
    bar.stop();
  }
}
