import { KvantError } from "@kvant/core";
import { kvCalibration } from "../kv-calibration.ts";
import type { ActivationObserver } from "../observers/activation-observer.ts";
import { activationObservers } from "../observers/observers.ts";
import { MagnitudeCounts } from "../report/magnitude-counts.ts";
import type { LinearReport } from "../report/quantization-report.ts";
import { needsCalibration } from "./linear-recipe.ts";
import { PartCollector, type PartStatistics } from "./part-statistics.ts";
import { dequantizedTensors, type QuantizedLayer, quantizeLayer } from "./quantize-layer.ts";
import {
  keysTap,
  type LayerPart,
  type LayerTap,
  type LayerTensors,
  type QuantizeRuntime,
  valuesTap,
} from "./quantize-runtime.ts";
import { type Recipe, recipeFor } from "./recipe.ts";

/** A decoder layer as it is written: weights, and the static scales that calibration has found. */
export interface FinishedLayer extends QuantizedLayer {
  /** Static activation scales by module. */
  readonly inputScales: ReadonlyMap<string, number>;
  /** Static KV scales: one per head, or one. */
  readonly kv: { readonly k: Float32Array; readonly v: Float32Array } | undefined;
}

export interface QuantizeModelOptions {
  readonly runtime: QuantizeRuntime;
  /** A float tensor of the checkpoint. */
  readonly readTensor: (name: string) => Float32Array;
  readonly recipe: Recipe;
  /** Calibration sequences of token ids; undefined: none, which some recipes refuse. */
  readonly samples: readonly Int32Array[] | undefined;
  /** A layer that an earlier run has finished under the same recipe and samples. */
  readonly finishedLayer?: (layer: number) => FinishedLayer | undefined;
  /** Called with each layer in order as soon as it is done; nothing of it is kept. */
  readonly onLayer: (layer: number, finished: FinishedLayer) => void;
  /** Sequences that have gone through a layer, and how many will in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Quantizes a model layer by layer. With calibration, a layer first sees its activations as the quantized layers before it
 * make them (as GPTQ's authors do), is quantized, and then computes the next layer's with its quantized weights; that second
 * pass also finds static scales. Memory: one layer's tensors, and the hidden states of all samples.
 * @throws KvantError INVALID_ARGUMENT for a recipe that needs calibration where there is none, WEIGHT_NOT_FINITE, and what the
 * runtime throws
 */
export async function quantizeModel(options: QuantizeModelOptions): Promise<void> {
  const { runtime, recipe, samples, finishedLayer = () => undefined, onLayer, onProgress = () => undefined } = options;
  if (samples === undefined) refuseUncalibrated(runtime, recipe);
  const states = samples?.map((tokenIds) => runtime.embed(tokenIds)) ?? [];
  const total = 2 * runtime.layerCount * Math.max(1, states.length);
  let done = 0;
  const onSequence = () => onProgress(++done, total);
  for (let layer = 0; layer < runtime.layerCount; layer++) {
    const earlier = finishedLayer(layer);
    if (earlier !== undefined) {
      await runtime.forwardLayer(layer, dequantizedTensors(earlier), states, {
        taps: [],
        states: "replace",
        onSequence,
      });
      onLayer(layer, earlier);
    } else {
      onLayer(layer, await finishLayer(options, layer, states, onSequence));
    }
    done = 2 * (layer + 1) * Math.max(1, states.length);
    onProgress(done, total);
  }
}

async function finishLayer(
  { runtime, readTensor, recipe }: QuantizeModelOptions,
  layer: number,
  states: readonly Float32Array[],
  onSequence: () => void,
): Promise<FinishedLayer> {
  const parts = runtime.parts(layer);
  const tensors: LayerTensors = new Map(runtime.tensorNames(layer).map((name) => [name, readTensor(name)]));
  if (states.length === 0) {
    return { ...quantizeLayer(parts, tensors, recipe, undefined), inputScales: new Map(), kv: undefined };
  }
  const statistics = await collect(runtime, layer, tensors, states, onSequence);
  const quantized = quantizeLayer(parts, tensors, recipe, statistics);

  const inputs = parts.map((part) => inputWatch(part, recipe));
  const kv = kvWatch(runtime, recipe);
  await runtime.forwardLayer(layer, dequantizedTensors(quantized), states, {
    taps: [...inputs.map(({ tap }) => tap), ...kv.taps],
    states: "replace",
    onSequence,
  });
  const inputScales = new Map(inputs.flatMap(({ scales }) => scales()));
  const magnitudes = new Map(
    inputs.flatMap(({ part, counts }) => part.modules.map((module) => [module, counts] as const)),
  );
  const reports = quantized.reports.map(
    (report): LinearReport => ({
      ...report,
      activationsAfter: magnitudes.get(report.name)!.histogram(),
      activationScale: inputScales.get(report.name) ?? null,
    }),
  );
  return { ...quantized, reports, inputScales, kv: kv.scales() };
}

async function collect(
  runtime: QuantizeRuntime,
  layer: number,
  tensors: LayerTensors,
  states: readonly Float32Array[],
  onSequence: () => void,
): Promise<readonly PartStatistics[]> {
  const tokenCount = states.reduce((sum, each) => sum + each.length / runtime.hiddenSize, 0);
  const parts = runtime.parts(layer);
  const collectors = parts.map(({ width }) => new PartCollector(width, tokenCount));
  const taps = parts.map(
    ({ modules }, index): LayerTap => ({
      name: modules[0]!,
      read: (activations, tokens) => collectors[index]!.add(activations, tokens),
    }),
  );
  await runtime.forwardLayer(layer, tensors, states, { taps, states: "keep", onSequence });
  return collectors.map((collector) => collector.statistics());
}

/** Watches what a part reads: its magnitudes for the report, and for static scales an observer per module. */
function inputWatch(part: LayerPart, recipe: Recipe) {
  const counts = new MagnitudeCounts();
  const observers = part.modules.flatMap((module) => {
    const answer = recipeFor(recipe, module);
    const activations = answer.kind === "quantize" ? answer.linear.activations : undefined;
    if (activations?.scale !== "static") return [];
    return [{ module, format: activations.format, observer: observerOf(recipe) }];
  });
  const tap: LayerTap = {
    name: part.modules[0]!,
    read: (activations, tokens) => {
      counts.add(activations);
      for (const { observer } of observers) observer.observe(activations, tokens, part.width);
    },
  };
  const scales = () => observers.map(({ module, format, observer }) => [module, observer.scale(format)] as const);
  return { part, tap, counts, scales };
}

function kvWatch({ kvHeadCount, headDim }: QuantizeRuntime, recipe: Recipe) {
  const { kv } = recipe;
  if (kv === undefined) return { taps: [], scales: () => undefined };
  const calibration = kvCalibration(kvHeadCount, headDim, () => observerOf(recipe));
  let keys = new Float32Array(0);
  const taps: readonly LayerTap[] = [
    { name: keysTap, read: (activations) => (keys = activations.slice()) },
    { name: valuesTap, read: (activations, tokens) => calibration.observe(keys, activations, tokens) },
  ];
  const scales = () => {
    const { k, v } = calibration.scales(kv.format);
    if (kv.granularity === "head") return { k: k.perHead, v: v.perHead };
    return { k: Float32Array.of(k.perTensor), v: Float32Array.of(v.perTensor) };
  };
  return { taps, scales };
}

function observerOf({ observer }: Recipe): ActivationObserver {
  return activationObservers[observer]();
}

function refuseUncalibrated(runtime: QuantizeRuntime, recipe: Recipe): void {
  const wanting = Array.from({ length: runtime.layerCount }, (_, layer) => runtime.parts(layer))
    .flat()
    .flatMap(({ modules }) => modules)
    .find((module) => {
      const answer = recipeFor(recipe, module);
      return answer.kind === "quantize" && needsCalibration(answer.linear);
    });
  if (wanting === undefined && recipe.kv === undefined) return;
  const what = wanting === undefined ? "static KV scales need" : `the recipe for "${wanting}" needs`;
  throw new KvantError("INVALID_ARGUMENT", `${what} calibration text; name files with --calibration`, {
    field: "calibration",
  });
}
