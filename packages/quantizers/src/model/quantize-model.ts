import { kvCalibration } from "../kv-calibration.ts";
import type { ActivationObserver } from "../observers/activation-observer.ts";
import { activationObservers } from "../observers/observers.ts";
import { MagnitudeCounts } from "../report/magnitude-counts.ts";
import type { LinearReport } from "../report/quantization-report.ts";
import { checkRecipe } from "./check-recipe.ts";
import type { FloatFormat } from "./fold-part.ts";
import { collectStatistics } from "./part-statistics.ts";
import { dequantizedTensors, type QuantizedLayer, quantizeLayer } from "./quantize-layer.ts";
import {
  feedTap,
  keysTap,
  type LayerPart,
  type LayerTap,
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
  /** Calibration sequences of token ids; undefined or empty: none, which some recipes refuse. */
  readonly samples: readonly Int32Array[] | undefined;
  /** How a tensor is written that stays in float: what a fold has changed is rounded to it. Default bf16 for all. */
  readonly floatFormat?: (name: string) => FloatFormat;
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
 * pass also finds static scales. Memory: one layer's tensors, and the hidden states of all samples. A run that takes layers up
 * from an earlier one ends with the same bytes.
 * @throws KvantError INVALID_ARGUMENT for a recipe that needs calibration where there is none or wants two folds in one place,
 * WEIGHT_NOT_FINITE, and what the runtime throws
 */
export async function quantizeModel(options: QuantizeModelOptions): Promise<void> {
  const {
    runtime,
    recipe,
    samples = [],
    finishedLayer = () => undefined,
    onLayer,
    onProgress = () => undefined,
  } = options;
  checkRecipe(runtime, recipe, samples.length > 0);
  const states = samples.map((tokenIds) => runtime.embed(tokenIds));
  const layerTotal = 2 * Math.max(1, states.length); // a layer is run twice
  const total = layerTotal * runtime.layerCount;
  for (let layer = 0; layer < runtime.layerCount; layer++) {
    let done = layer * layerTotal;
    const end = done + layerTotal;
    const onSequence = () => {
      if (done + 1 < end) onProgress(++done, total);
    };
    const earlier = finishedLayer(layer);
    const finished = earlier ?? (await finishLayer(options, layer, states, onSequence));
    if (earlier !== undefined) {
      await runtime.forwardLayer(layer, dequantizedTensors(earlier), states, {
        taps: [],
        states: "replace",
        onSequence,
      });
    }
    onLayer(layer, finished);
    onProgress(end, total);
  }
}

async function finishLayer(
  { runtime, readTensor, recipe, floatFormat }: QuantizeModelOptions,
  layer: number,
  states: readonly Float32Array[],
  onSequence: () => void,
): Promise<FinishedLayer> {
  const parts = runtime.parts(layer);
  const tensors = new Map(runtime.tensorNames(layer).map((name) => [name, readTensor(name)] as const));
  if (states.length === 0) {
    const quantized = quantizeLayer({ parts, tensors, recipe, statistics: undefined, floatFormat });
    return { ...quantized, inputScales: new Map(), kv: undefined };
  }
  const statistics = await collectStatistics(runtime, layer, tensors, states, { states: "keep", onSequence });
  const quantized = quantizeLayer({ parts, tensors, recipe, statistics, floatFormat });
  for (const { gram } of statistics) gram.release();

  const inputs = parts.map((part) => inputWatch(runtime, part, recipe));
  const kv = kvWatch(runtime, recipe);
  await runtime.forwardLayer(layer, dequantizedTensors(quantized), states, {
    taps: [...inputs.map(({ tap }) => tap), ...kv.taps],
    states: "replace",
    onSequence,
  });
  const inputScales = new Map(inputs.flatMap(({ scales }) => scales()));
  const magnitudes = new Map(
    inputs.flatMap(({ part, counts }) => {
      const histogram = counts.histogram();
      return part.modules.map((module) => [module, histogram] as const);
    }),
  );
  const reports = quantized.reports.map(
    (report): LinearReport => ({
      ...report,
      activationsAfter: magnitudes.get(report.name)!,
      activationScale: inputScales.get(report.name) ?? null,
    }),
  );
  const { restored: _, ...kept } = quantized;
  return { ...kept, reports, inputScales, kv: kv.scales() };
}

/** Watches what a part reads: its magnitudes for the report, and for static scales an observer per module. */
function inputWatch({ collectors }: QuantizeRuntime, part: LayerPart, recipe: Recipe) {
  const observers = part.modules.flatMap((module) => {
    const answer = recipeFor(recipe, module);
    const activations = answer.kind === "quantize" ? answer.linear.activations : undefined;
    if (activations?.scale !== "static") return [];
    return [{ module, format: activations.format, observer: observerOf(recipe) }];
  });
  const name = part.modules[0]!;
  // Observers read the activations here, where their magnitudes are then counted as well.
  const counts =
    observers.length === 0 ? (collectors?.magnitudes(part.width) ?? new MagnitudeCounts()) : new MagnitudeCounts();
  const counting: LayerTap = { name, into: counts };
  const observing: LayerTap = {
    name,
    read: (activations, tokens) => {
      feedTap(counting, activations, tokens);
      for (const { observer } of observers) observer.observe(activations, tokens, part.width);
    },
  };
  const tap = observers.length === 0 ? counting : observing;
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
