import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { extname, join, resolve } from "node:path";
import { KvantError } from "@kvant/core";
import { drawCalibration, type EngineOptions, openQuantizeSource } from "@kvant/engine";
import { type CalibrationOptions, parseRecipe, quantizeCheckpoint } from "@kvant/quantizers";
import { replaceTextFile } from "../results/replace-text-file.ts";
import { type Evaluation, evaluate } from "./evaluate.ts";
import type { SchemeCost } from "./measure-cost.ts";
import type { QualityScheme } from "./quality-scheme.ts";

export interface MeasureQualityOptions {
  /** A float checkpoint. */
  readonly model: string;
  readonly device?: string | undefined;
  readonly threads?: number | undefined;
  readonly schemes: readonly QualityScheme[];
  readonly text: string;
  /** For the schemes that look at activations. */
  readonly calibration?: CalibrationOptions | undefined;
  /** Folder for one quantized checkpoint per scheme. What an earlier call with the same settings has left there is used again. */
  readonly folder: string;
  /** What a scheme costs to run, where that is wanted. */
  readonly cost?: ((engine: EngineOptions) => SchemeCost) | undefined;
  /** `phase` is one of a scheme. */
  readonly onProgress?: (phase: string, done: number, total: number) => void;
  /** Takes what a scheme throws; the scheme has no row then, and the next ones follow. Without it the error ends all. */
  readonly onFailure?: (scheme: string, error: unknown) => void;
}

/** A scheme on a text, beside the same checkpoint in BF16. */
export interface QualityRow extends Evaluation {
  /** As it was asked for, such as `int4-g128/awq`. */
  readonly scheme: string;
  /** Wall time of quantizing; null where nothing was, or where an earlier call did. */
  readonly quantizeSeconds: number | null;
  readonly cost: SchemeCost | null;
}

/**
 * Quality of schemes of one model against the same weights in BF16, each quantized into a checkpoint of its own by the pipeline
 * of `kvant quantize`, with linear layers alone quantized: head and embedding stay as they are, the KV cache is BF16.
 * @throws KvantError INVALID_ARGUMENT, before anything runs, for a scheme that needs calibration text where there is none or it
 * cannot be read, and for a folder whose checkpoint was made with other settings or is not complete; without `onFailure` also
 * what quantizing and evaluating throw
 */
export async function* measureQuality(options: MeasureQualityOptions): AsyncGenerator<QualityRow, void> {
  const { schemes, calibration, onFailure } = options;
  const blind = schemes.find((scheme) => scheme.kind === "quantized" && scheme.needsCalibration);
  if (blind !== undefined && calibration === undefined) {
    throw new KvantError("INVALID_ARGUMENT", `${blind.name} looks at activations, so it needs calibration text`, {
      field: "calibration",
    });
  }
  const kept = keptCheckpoints(options);
  for (const { out, settings } of kept.values()) if (existsSync(out)) requireSettings(out, settings);
  for (const scheme of schemes) {
    let row: QualityRow;
    try {
      row = await measureScheme(scheme, kept.get(scheme), options);
    } catch (error) {
      if (onFailure === undefined) throw error;
      onFailure(scheme.name, error);
      continue;
    }
    yield row;
  }
}

async function measureScheme(
  scheme: QualityScheme,
  kept: KeptCheckpoint | undefined,
  options: MeasureQualityOptions,
): Promise<QualityRow> {
  const { model, device, threads, text, cost, onProgress = () => undefined } = options;
  const shared = {
    ...(device === undefined ? {} : { device }),
    ...(threads === undefined ? {} : { threads }),
    kvFormat: "bf16",
  };
  const { engine, quantizeSeconds } = await engineOf(scheme, kept, options, shared);
  const evaluation = await evaluate({
    engine,
    text,
    divergence: false,
    reference: { ...shared, model, weights: "bf16", activations: "bf16" },
    onProgress: (done, total) => onProgress(`${scheme.name}: evaluating`, done, total),
  });
  return { scheme: scheme.name, quantizeSeconds, ...evaluation, cost: cost?.(engine) ?? null };
}

async function engineOf(
  scheme: QualityScheme,
  kept: KeptCheckpoint | undefined,
  options: MeasureQualityOptions,
  shared: Partial<EngineOptions>,
) {
  if (scheme.kind === "float") {
    const engine = { ...shared, model: options.model, weights: scheme.format, activations: scheme.format };
    return { engine, quantizeSeconds: null };
  }
  const { out } = kept!;
  const quantizeSeconds = existsSync(out) ? null : await quantizeInto(kept!, scheme, options);
  // A scheme of weights alone names no activations, and the backend's own choice may quantize them.
  const activations = scheme.recipe.activations === undefined ? { activations: "bf16" } : {};
  return { engine: { ...shared, ...activations, model: out }, quantizeSeconds };
}

type QuantizedScheme = Extract<QualityScheme, { kind: "quantized" }>;

/** @returns seconds */
async function quantizeInto(
  { out, settings }: KeptCheckpoint,
  scheme: QuantizedScheme,
  options: MeasureQualityOptions,
): Promise<number> {
  const { model, device, threads, calibration, onProgress = () => undefined } = options;
  const startedAt = performance.now();
  const source = openQuantizeSource({
    model,
    ...(device === undefined ? {} : { device }),
    ...(threads === undefined ? {} : { threads }),
  });
  try {
    const { checkpoint, config, runtime } = source;
    const recipeData = { rules: [{ match: "*", ...scheme.names }], ignore: ["lm_head"] };
    const samples = scheme.needsCalibration ? drawCalibration(source, calibration!) : undefined;
    const report = await quantizeCheckpoint({
      checkpoint,
      config,
      runtime,
      recipe: parseRecipe(recipeData),
      recipeData,
      calibration: samples && { samples, report: calibration! },
      out,
      onProgress: (done, total) => onProgress(`${scheme.name}: quantizing`, done, total),
    });
    const seconds = (performance.now() - startedAt) / 1000;
    const { linears: _, ...summary } = report;
    replaceTextFile(join(out, settingsFile), `${JSON.stringify({ settings, summary })}\n`);
    return seconds;
  } finally {
    source.close();
  }
}

/** Where a scheme's checkpoint lies in the folder, and what its bytes depend on, in words. */
interface KeptCheckpoint {
  readonly out: string;
  readonly settings: string;
}

const settingsFile = "bench-quality.json";

/** Of the schemes that quantize. */
function keptCheckpoints({
  schemes,
  folder,
  model,
  calibration,
}: MeasureQualityOptions): ReadonlyMap<QualityScheme, KeptCheckpoint> {
  const reads = schemes.some((scheme) => scheme.kind === "quantized" && scheme.needsCalibration);
  const read = reads && calibration !== undefined ? calibrationSettings(calibration) : null;
  const kept = new Map<QualityScheme, KeptCheckpoint>();
  for (const scheme of schemes) {
    if (scheme.kind !== "quantized") continue;
    kept.set(scheme, {
      out: join(folder, scheme.name.replaceAll(/[+/]/g, "_")),
      settings: JSON.stringify([scheme.name, resolve(model), scheme.needsCalibration ? read : null]),
    });
  }
  return kept;
}

/** Texts count by what is in them: a file that has changed makes another checkpoint, one that was moved does not. */
function calibrationSettings({ files, ...drawn }: CalibrationOptions): object {
  return { texts: files.map(textIdentity), ...drawn };
}

function textIdentity(path: string): string {
  let content: Uint8Array;
  try {
    content = readFileSync(path);
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? cause.code : cause;
    throw new KvantError("INVALID_ARGUMENT", `${path}: the calibration text cannot be read (${reason})`, {
      cause,
      field: "calibration",
    });
  }
  // The name's ending says how a text is read.
  return `${createHash("sha256").update(content).digest("hex")}${extname(path)}`;
}

function requireSettings(out: string, settings: string): void {
  const path = join(out, settingsFile);
  if (!existsSync(path)) {
    const sentence = `${out}: has no ${settingsFile}, so what made it ended before it was done; remove the folder`;
    throw new KvantError("INVALID_ARGUMENT", sentence, { field: "folder" });
  }
  if (JSON.parse(readFileSync(path, "utf8")).settings === settings) return;
  throw new KvantError("INVALID_ARGUMENT", `${out}: was made with other settings; name another folder or remove it`, {
    field: "folder",
  });
}
