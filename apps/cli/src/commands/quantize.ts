import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { evaluate, quantizationPage, quantizationSummary } from "@kvant/bench";
import { KvantError } from "@kvant/core";
import { drawCalibration, openQuantizeSource, type QuantizeSource } from "@kvant/engine";
import {
  parseLinearRecipe,
  parseRecipe,
  type QualityReport,
  type QuantizationReport,
  quantizeCheckpoint,
} from "@kvant/quantizers";
import { load } from "js-yaml";
import { accelerate } from "../accelerate.ts";
import { engineOptions, type ModelFlags } from "../model-options.ts";
import { megabytes, printRow, say, table } from "../print.ts";
import { progressBar } from "../progress.ts";
import { readText } from "../read-text.ts";

export interface QuantizeFlags extends Pick<ModelFlags, "device" | "backend" | "threads"> {
  readonly out: string;
  readonly scheme?: string;
  readonly method?: string;
  readonly granularity?: string;
  readonly affine?: boolean;
  readonly activations?: string;
  readonly kv?: string;
  readonly kvGranularity: string;
  readonly observer?: string;
  readonly ignore?: readonly string[];
  readonly damping?: number;
  readonly actOrder?: boolean;
  readonly recipe?: string;
  readonly eval?: string;
  readonly calibration?: readonly string[];
  readonly samples: number;
  readonly sampleTokens: number;
  readonly seed: number;
  readonly json?: boolean;
}

/** Quantizes a checkpoint into a folder of its own that Kvant, vLLM and transformers read. */
export async function quantize(model: string | undefined, flags: QuantizeFlags): Promise<void> {
  const startedAt = performance.now();
  const data = recipeData(flags);
  const recipe = parseRecipe(data);
  const text = flags.eval === undefined ? undefined : readText(flags.eval);
  accelerate(flags.threads);
  const source = openQuantizeSource(engineOptions(model, flags));
  const bar = progressBar("quantizing");
  try {
    const calibration = calibrationOf(flags, source);
    const report = await quantizeCheckpoint({
      checkpoint: source.checkpoint,
      config: source.config,
      runtime: source.runtime,
      recipe,
      recipeData: data,
      calibration,
      out: flags.out,
      onProgress: bar.update,
    });
    bar.stop();
    const finished = {
      ...report,
      seconds: (performance.now() - startedAt) / 1000,
      peakResidentBytes: process.resourceUsage().maxRSS * 1024,
    };
    const quality = text === undefined ? undefined : await measureQuality(model, flags, text);
    writeReports(flags.out, finished, quality);
    printSummary(finished, flags, quality);
  } finally {
    bar.stop();
    source.close();
  }
}

/** The quantized model beside the original on the text of `--eval`. */
async function measureQuality(model: string | undefined, flags: QuantizeFlags, text: string): Promise<QualityReport> {
  const bar = progressBar("evaluating");
  try {
    const row = await evaluate({
      engine: engineOptions(flags.out, flags),
      text,
      divergence: false,
      reference: engineOptions(model, flags),
      onProgress: bar.update,
    });
    const { mean, low, high } = row.nllDifference!;
    return {
      text: flags.eval!,
      tokens: row.tokens,
      originalPerplexity: row.reference!.perplexity,
      quantizedPerplexity: row.perplexity,
      nllDifference: { mean, low: low ?? mean, high: high ?? mean },
      klDivergence: row.klVsReference!,
      top1Agreement: row.top1Agreement! / 100,
    };
  } finally {
    bar.stop();
  }
}

/** `quantization-report.json` and the same as a page, `quantization-report.html`, inside the folder. */
function writeReports(out: string, report: QuantizationReport, quality: QualityReport | undefined): void {
  const data = JSON.stringify({ ...report, quality: quality ?? null }, undefined, 1);
  writeFileSync(join(out, "quantization-report.json"), `${data}\n`);
  writeFileSync(join(out, "quantization-report.html"), quantizationPage(report, quality));
}

/** The recipe as data: the file's, or one rule made of flags. */
function recipeData(flags: QuantizeFlags): unknown {
  if (flags.recipe !== undefined) {
    const clash = (["scheme", "method", "granularity", "affine", "activations", "kv", "ignore"] as const).find(
      (flag) => flags[flag] !== undefined,
    );
    if (clash !== undefined) {
      throw new KvantError("INVALID_ARGUMENT", `--recipe says what becomes of each layer, so --${clash} must go`, {
        field: clash,
      });
    }
    return readRecipe(flags.recipe);
  }
  const { scheme, method, granularity, affine, activations } = flags;
  if (scheme === undefined || method === undefined) {
    throw new KvantError("INVALID_ARGUMENT", "name a --scheme and a --method, or a --recipe file", { field: "scheme" });
  }
  const names = { scheme, method, granularity, affine, activations };
  parseLinearRecipe(names); // speaks of flags, where parseRecipe would speak of rules[0]
  const given = Object.fromEntries(Object.entries(names).filter(([, value]) => value !== undefined));
  return {
    rules: [{ match: "*", ...given }],
    ignore: ["lm_head", ...(flags.ignore ?? [])],
    ...(flags.kv === undefined ? {} : { kv: { format: flags.kv, granularity: flags.kvGranularity } }),
    ...(flags.observer === undefined ? {} : { observer: flags.observer }),
    gptq: {
      ...(flags.damping === undefined ? {} : { damping: flags.damping }),
      ...(flags.actOrder === undefined ? {} : { actOrder: flags.actOrder }),
    },
  };
}

function readRecipe(path: string): unknown {
  try {
    return load(readFileSync(path, "utf8"), { filename: path }); // JSON is YAML
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new KvantError("INVALID_ARGUMENT", `${path}: the recipe cannot be read (${reason})`, {
      cause,
      field: "recipe",
    });
  }
}

function calibrationOf(flags: QuantizeFlags, source: QuantizeSource) {
  if (flags.calibration === undefined) return undefined;
  const report = {
    files: flags.calibration,
    sampleCount: flags.samples,
    sampleTokens: flags.sampleTokens,
    seed: flags.seed,
  };
  return { samples: drawCalibration(source, report), report };
}

function printSummary(report: QuantizationReport, flags: QuantizeFlags, quality: QualityReport | undefined): void {
  const { linears, kept, bytesBefore, bytesAfter, bitsPerWeight, seconds, peakResidentBytes } = report;
  const formats = [...new Set(linears.map(({ weightFormat }) => weightFormat))];
  const rows = formats.map((format) => {
    const those = linears.filter(({ weightFormat }) => weightFormat === format);
    const errors = those.flatMap(({ outputRelativeError }) => outputRelativeError ?? []);
    const nearest = those.flatMap(({ roundToNearestOutputError }) => roundToNearestOutputError ?? []);
    return [
      format,
      [...new Set(those.map(({ method }) => method))].join(", "),
      [...new Set(those.map(({ activations }) => activations))].join(", "),
      String(those.length),
      percent(those.map(({ weight }) => weight.relativeError)),
      percent(errors),
      percent(nearest),
      String(those.reduce((sum, { weight }) => sum + weight.saturatedCount, 0)),
    ];
  });
  const header = ["weights", "method", "activations", "layers", "weight error", "output error", "nearest", "clipped"];
  const [title, ...figures] = quantizationSummary(report, quality);
  const lines = [
    table(header, rows),
    `kept: ${kept.length} tensors of ${megabytes(kept.reduce((sum, { bytes }) => sum + bytes, 0))} (embedding, norms, output head and what the recipe ignores)`,
    table(title!, figures),
    ...(report.calibration === null || report.arithmetic === undefined
      ? []
      : [`layers ran in ${report.arithmetic.layers}; methods computed in ${report.arithmetic.methods}`]),
    `written: ${flags.out} (serve it: kvant serve ${flags.out})`,
  ];
  if (flags.json) {
    printRow({
      out: flags.out,
      layers: linears.length,
      weights: formats.join("+"),
      methods: [...new Set(linears.map(({ method }) => method))].join(","),
      bytesBefore,
      bytesAfter,
      bitsPerWeight,
      seconds,
      peakResidentBytes,
      quality: quality ?? null,
    });
    say(lines.join("\n"));
  } else {
    process.stdout.write(`${lines.join("\n")}\n`);
  }
}

function percent(values: readonly number[]): string {
  if (values.length === 0) return "-";
  return `${((100 * values.reduce((sum, value) => sum + value, 0)) / values.length).toFixed(2)}%`;
}
