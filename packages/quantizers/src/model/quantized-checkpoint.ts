import { createHash } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  type Checkpoint,
  CheckpointWriter,
  type ModelConfig,
  type QuantizedModule,
  quantizationConfigJson,
  type TensorInfo,
} from "@kvant/checkpoint";
import { type ErrorCode, errorCode, KvantError } from "@kvant/core";
import type { KeptTensor, LinearReport, QuantizationReport } from "../report/quantization-report.ts";
import { layerTensors, quantizedActivations, readLayer, storedFormat } from "./layer-tensors.ts";
import { type FinishedLayer, quantizeModel } from "./quantize-model.ts";
import type { QuantizeRuntime } from "./quantize-runtime.ts";
import { type Recipe, recipeFor } from "./recipe.ts";

export interface QuantizeCheckpointOptions {
  readonly checkpoint: Checkpoint;
  readonly config: ModelConfig;
  readonly runtime: QuantizeRuntime;
  readonly recipe: Recipe;
  /** Calibration sequences, and what the report says of them; undefined: none. */
  readonly calibration:
    | { readonly samples: readonly Int32Array[]; readonly report: NonNullable<QuantizationReport["calibration"]> }
    | undefined;
  /** Folder to write; must not exist. An interrupted run leaves `<out>.partial`, which the next one goes on with. */
  readonly out: string;
  /** The recipe as it was given, for the report. */
  readonly recipeData: unknown;
  readonly onProgress?: (done: number, total: number) => void;
}

/** What a finished run says beside the files it has written. */
export type CheckpointReport = Omit<QuantizationReport, "seconds" | "peakResidentBytes">;

/** Bump when the same recipe and samples give other bytes, so that an interrupted run of the old code is not continued. */
const methodVersion = 1;

/** Faults of weights and recipe: the next run would meet them again, so that it has no use for the layers of this one. */
const lastingFaults: readonly ErrorCode[] = ["WEIGHT_NOT_FINITE", "QUANTIZATION_UNSUPPORTED"];

/**
 * Quantizes a checkpoint folder into another one in the compressed-tensors dialect, layer by layer: each layer is on disk as
 * soon as it is done, and the folder appears whole at the end, tokenizer and configuration carried over.
 * @throws KvantError INVALID_ARGUMENT if `out` exists, the checkpoint is quantized already, or the recipe does not fit;
 * WEIGHT_NOT_FINITE, QUANTIZATION_UNSUPPORTED for formats that the dialect cannot hold, DISK_FULL, WRITE_FAILED
 */
export async function quantizeCheckpoint(options: QuantizeCheckpointOptions): Promise<CheckpointReport> {
  const { checkpoint, config, runtime, recipe, calibration, out, onProgress } = options;
  if (config.quantization !== undefined) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `${checkpoint.folder}: is quantized already; start from the float checkpoint`,
      {
        field: "model",
      },
    );
  }
  const writer = new CheckpointWriter(out, { resumeKey: resumeKey(options) });
  try {
    const layers: LayerSummary[] = [];
    const layerNames = new Set<string>();
    await quantizeModel({
      runtime,
      recipe,
      samples: calibration?.samples,
      readTensor: (name) => checkpoint.readFloat32(name),
      floatFormat: (name) => storedFormat(checkpoint, name),
      finishedLayer: (layer) => {
        const part = partName(layer);
        const note = writer.has(part) ? writer.note(part) : undefined;
        return note === undefined ? undefined : readLayer(writer, part, JSON.parse(note) as LayerNote);
      },
      onLayer: (layer, finished) => {
        for (const name of runtime.tensorNames(layer)) layerNames.add(name);
        const part = partName(layer);
        const note = noteOf(finished, recipe);
        if (!writer.has(part)) {
          writer.writeNote(part, JSON.stringify(note));
          writer.writePart(part, layerTensors(finished, checkpoint, `model.layers.${layer}.self_attn`, recipe));
        }
        layers.push({ ...note, kv: finished.kv, bytes: partBytes(writer, part) });
      },
      ...(onProgress === undefined ? {} : { onProgress }),
    });
    const rest = [...checkpoint.tensors.keys()].filter((name) => !layerNames.has(name));
    rest.forEach((name, index) => {
      const part = `rest-${String(index).padStart(4, "0")}`;
      if (!writer.has(part)) writer.writePart(part, new Map([[name, checkpoint.read(name)]]));
    });
    const linears = layers.flatMap(({ reports }) => reports);
    const kept = layers.flatMap((layer) => layer.kept);
    const quantization = quantizationConfigJson({
      modules: layers.flatMap(({ modules }) => modules),
      ignore: ["lm_head", ...kept.map(({ module }) => module)],
      kv: recipe.kv,
    });
    writer.finish({ config: { ...config.raw, quantization_config: quantization }, copyFrom: checkpoint.folder });
    return {
      version: 1,
      model: checkpoint.folder,
      recipe: options.recipeData,
      calibration: calibration?.report ?? null,
      ...(runtime.arithmetic === undefined ? {} : { arithmetic: runtime.arithmetic }),
      linears,
      kept: keptTensors(checkpoint, rest, layers, recipe),
      kv: kvReport(recipe, layers),
      bytesBefore: totalBytes(checkpoint.tensors.values()),
      bytesAfter:
        layers.reduce((sum, { bytes }) => sum + bytes, 0) +
        totalBytes(rest.map((name) => checkpoint.tensors.get(name)!)),
      bitsPerWeight: meanBits(linears),
    };
  } catch (error) {
    if (lastingFaults.includes(errorCode(error))) writer.discard();
    throw error;
  } finally {
    writer.abort();
  }
}

/** What a layer's part on disk does not say by itself. */
export interface LayerNote {
  readonly modules: readonly QuantizedModule[];
  readonly reports: readonly LinearReport[];
  readonly kept: readonly { readonly module: string; readonly reason: string }[];
}

interface LayerSummary extends LayerNote {
  readonly kv: FinishedLayer["kv"];
  readonly bytes: number;
}

function noteOf({ quantized, reports, kept }: FinishedLayer, recipe: Recipe): LayerNote {
  const modules = [...quantized].map(([module, { weightFormat }]) => {
    const activations = quantizedActivations(recipe, module);
    return { module, weightFormat, ...(activations === undefined ? {} : { activations }) };
  });
  return { modules, reports, kept };
}

function partName(layer: number): string {
  return `layer-${String(layer).padStart(4, "0")}`;
}

/** Stands for all that a layer's bytes depend on. */
function resumeKey({ checkpoint, config, runtime, recipe, calibration }: QuantizeCheckpointOptions): string {
  const hash = createHash("sha256");
  const files = readdirSync(checkpoint.folder)
    .filter((name) => name.endsWith(".safetensors"))
    .map((name) => {
      const { size, mtimeMs } = statSync(join(checkpoint.folder, name));
      return [name, size, mtimeMs];
    });
  hash.update(JSON.stringify([methodVersion, files, config.raw, recipe, runtime.arithmetic ?? null]));
  for (const sample of calibration?.samples ?? [])
    hash.update(new Uint8Array(sample.buffer, sample.byteOffset, sample.byteLength));
  return hash.digest("hex");
}

function keptTensors(
  checkpoint: Checkpoint,
  rest: readonly string[],
  layers: readonly LayerNote[],
  recipe: Recipe,
): readonly KeptTensor[] {
  const entry = (name: string, reason: string): KeptTensor => {
    const { dtype, bytes } = checkpoint.tensors.get(name)!;
    return { name, format: dtype, bytes, reason };
  };
  const linears = layers.flatMap(({ kept }) => kept.map(({ module, reason }) => entry(`${module}.weight`, reason)));
  return [...rest.map((name) => entry(name, restReason(name, recipe))), ...linears];
}

function restReason(name: string, recipe: Recipe): string {
  if (name.endsWith("embed_tokens.weight")) return "rows of the embedding are looked up, not multiplied";
  if (name === "lm_head.weight") {
    const answer = recipeFor(recipe, "lm_head");
    return answer.kind === "keep" ? answer.reason : "the output head keeps its format: logits suffer first";
  }
  return "vectors are small and sensitive";
}

function kvReport({ kv }: Recipe, layers: readonly LayerSummary[]): QuantizationReport["kv"] {
  if (kv === undefined) return null;
  return {
    format: kv.format,
    granularity: kv.granularity,
    layers: layers.map(({ kv: scales }, layer) => ({ layer, k: [...(scales?.k ?? [])], v: [...(scales?.v ?? [])] })),
  };
}

function partBytes(writer: CheckpointWriter, part: string): number {
  const file = writer.openPart(part);
  try {
    return totalBytes(file.tensors.values());
  } finally {
    file.close();
  }
}

function totalBytes(tensors: Iterable<Pick<TensorInfo, "bytes">>): number {
  let sum = 0;
  for (const { bytes } of tensors) sum += bytes;
  return sum;
}

function meanBits(linears: readonly LinearReport[]): number {
  const weights = linears.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
  if (weights === 0) return 0;
  return linears.reduce((sum, { rows, cols, bitsPerWeight }) => sum + rows * cols * bitsPerWeight, 0) / weights;
}
