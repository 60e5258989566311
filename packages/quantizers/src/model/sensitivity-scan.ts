import { KvantError } from "@kvant/core";
import { dequantize, type QuantizedTensor, weightBytes, weightFormatName } from "@kvant/formats";
import { type LinearRecipe, type LinearRecipeNames, linearRecipeNames, methodName } from "./linear-recipe.ts";
import { collectStatistics } from "./part-statistics.ts";
import { foldLayer, roundPart } from "./quantize-layer.ts";
import type { LayerTensors, QuantizeRuntime } from "./quantize-runtime.ts";
import { type Recipe, uniformRecipe } from "./recipe.ts";
import { chooseOptions } from "./sensitivity-choice.ts";

export interface SensitivityScanOptions {
  readonly runtime: QuantizeRuntime;
  /** A float tensor of the checkpoint. */
  readonly readTensor: (name: string) => Float32Array;
  /** Calibration sequences of token ids. */
  readonly samples: readonly Int32Array[];
  /** Ways to quantize a module. */
  readonly candidates: readonly LinearRecipe[];
  /** The most bits per weight that all modules together may take, scales included. */
  readonly budgetBits: number;
  /** Bits per weight of a module that stays as it is, a further choice without loss; absent: every module is quantized. */
  readonly keptBits?: number | undefined;
  /** For candidates with GPTQ. */
  readonly gptq?: Partial<Pick<Recipe, "damping" | "actOrder">>;
  /** Sequences that have gone through a layer, and how many will in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** What one way to store a module takes and costs. */
export interface SensitivityOption {
  /** Such as `int4-g128`; `kept` for a module that stays as it is. */
  readonly format: string;
  /** Such as `gptq`; none for `kept`. */
  readonly method: string | undefined;
  readonly bitsPerWeight: number;
  /** Mean over tokens of `||h' - h||^2 / ||h||^2`, h being the residual stream behind the layer. */
  readonly loss: number;
}

export interface ModuleSensitivity {
  readonly module: string;
  /** Weights. */
  readonly parameters: number;
  /** Of each candidate in order, then `kept` where that was a choice. */
  readonly options: readonly SensitivityOption[];
  /** Index of the option that the proposed recipe takes. */
  readonly choice: number;
}

/** A recipe as `parseRecipe` reads it, and a YAML or JSON file holds it. */
export interface RecipeData {
  readonly rules: readonly ({ readonly match: string } & LinearRecipeNames)[];
  readonly ignore: readonly string[];
  readonly gptq?: Partial<Pick<Recipe, "damping" | "actOrder">>;
}

export interface SensitivityScan {
  readonly modules: readonly ModuleSensitivity[];
  readonly chosen: RecipeData;
  /** Of the proposed recipe over all modules; never above the budget. */
  readonly bitsPerWeight: number;
}

/**
 * Measures what quantizing each linear layer alone does to the model, and proposes a recipe within a budget of bits.
 *
 * The loss of a module is the relative squared error of the residual stream behind its decoder layer, token by token, when this
 * module alone is quantized and everything else is the original. An error of `o_proj` or `down_proj` enters the stream as it
 * is; that of `q_proj` or `gate_proj` only by what attention and activation make of it, so a bare output error would not
 * compare. Tokens are taken relative to their own stream because the norms that read it, up to the last one, see its direction
 * only; thus layers compare too, and a few tokens with huge activations do not outweigh all others. Losses are added as if
 * modules erred independently, the assumption of HAWQ-V2 (Dong et al. 2020, arXiv:1911.03852) and of ZeroQ (Cai et al. 2020,
 * arXiv:2001.00281). What a layer's error becomes further up is left out, and so is the rounding of activations.
 *
 * Same model, samples and candidates, same proposal. Memory: one layer's tensors, and three times the hidden states of all
 * samples. Time: a layer is run once, and once more for each of its modules and candidates.
 * @throws KvantError INVALID_ARGUMENT without candidates or samples, for candidates whose folds do not go together, and with the
 * least that would do for a budget below the smallest candidates; WEIGHT_NOT_FINITE, and what the runtime throws
 */
export async function sensitivityScan(options: SensitivityScanOptions): Promise<SensitivityScan> {
  const { runtime, samples, candidates, budgetBits, onProgress = () => undefined } = options;
  checkOptions(options);
  const linears = Array.from({ length: runtime.layerCount }, (_, layer) => runtime.parts(layer))
    .flat()
    .flatMap(({ modules }) => modules);
  const total = samples.length * (runtime.layerCount + linears.length * candidates.length);
  let done = 0;
  const onSequence = () => onProgress(++done, total);
  const scanned: Omit<ModuleSensitivity, "choice">[] = [];
  let states: readonly Float32Array[] = samples.map((tokenIds) => runtime.embed(tokenIds));
  for (let layer = 0; layer < runtime.layerCount; layer++) {
    const { modules, outputs } = await scanLayer(options, layer, states, onSequence);
    scanned.push(...modules);
    states = outputs;
  }
  const storage = scanned.map(({ parameters, options: each }) =>
    each.map(({ bitsPerWeight, loss }) => ({ bits: Math.round(bitsPerWeight * parameters), loss })),
  );
  const parameterTotal = scanned.reduce((sum, { parameters }) => sum + parameters, 0);
  const choices = chooseOptions(storage, budgetBits * parameterTotal);
  if (choices === undefined) {
    const least = storage.reduce((sum, each) => sum + Math.min(...each.map(({ bits }) => bits)), 0) / parameterTotal;
    throw invalid("budgetBits", `the smallest candidates take ${least} bits per weight; the budget is ${budgetBits}`);
  }
  const modules = scanned.map((each, index): ModuleSensitivity => ({ ...each, choice: choices[index]! }));
  const spent = storage.reduce((sum, each, index) => sum + each[choices[index]!]!.bits, 0);
  return { modules, chosen: recipeData(modules, options), bitsPerWeight: spent / parameterTotal };
}

function checkOptions({ samples, candidates }: SensitivityScanOptions): void {
  if (candidates.length === 0) throw invalid("candidates", "a sensitivity scan compares at least one candidate");
  if (samples.length === 0) throw invalid("calibration", "a sensitivity scan needs calibration text");
  const folds = [...new Set(candidates.flatMap(({ fold }) => fold ?? []))];
  if (folds.length > 1) {
    throw invalid("candidates", `layers with one input take one fold, so a scan does not mix ${folds.join(" and ")}`);
  }
}

/** Losses of one layer's modules, and the hidden states behind it. */
async function scanLayer(
  { runtime, readTensor, candidates, keptBits, gptq }: SensitivityScanOptions,
  layer: number,
  states: readonly Float32Array[],
  onSequence: () => void,
) {
  const parts = runtime.parts(layer);
  const tensors = new Map(runtime.tensorNames(layer).map((name) => [name, readTensor(name)] as const));
  const outputs = states.map((each) => each.slice());
  const statistics = await collectStatistics(runtime, layer, tensors, outputs, { states: "replace", onSequence });
  const lossOf = async (trial: LayerTensors) => {
    const trialStates = states.map((each) => each.slice());
    await runtime.forwardLayer(layer, trial, trialStates, { taps: [], states: "replace", onSequence });
    return streamError(outputs, trialStates, runtime.hiddenSize);
  };
  const found = new Map(parts.flatMap(({ modules }) => modules).map((module) => [module, [] as SensitivityOption[]]));
  for (const candidate of candidates) {
    const recipe = { ...uniformRecipe(candidate, gptq), ignore: [] };
    const folded = foldLayer({ parts, tensors, recipe, statistics });
    for (const part of folded.parts) {
      const { after, linears } = roundPart(part, folded.tensors, recipe);
      for (const { linear, rounded } of linears) {
        const { module } = linear;
        const { tensor } = rounded;
        const loss = await lossOf(new Map(folded.tensors).set(`${module}.weight`, dequantize(tensor)));
        found.get(module)!.push({ ...storageOf(tensor), method: methodName(candidate), loss });
      }
      if (after !== part.statistics) after?.gram.release();
    }
  }
  for (const { gram } of statistics) gram.release();
  const modules = [...found].map(([module, measured]) => {
    const kept = { format: "kept", method: undefined, bitsPerWeight: keptBits ?? 0, loss: 0 };
    const options = keptBits === undefined ? measured : [...measured, kept];
    return { module, parameters: tensors.get(`${module}.weight`)!.length, options };
  });
  return { modules, outputs };
}

function storageOf({ weightFormat, rows, cols }: QuantizedTensor) {
  const { codes, scales } = weightBytes(weightFormat, rows, cols);
  return { format: weightFormatName(weightFormat), bitsPerWeight: (8 * (codes + scales)) / (rows * cols) };
}

/** Mean over tokens of `||b - a||^2 / ||a||^2`; tokens whose stream is 0 are left out. */
function streamError(exact: readonly Float32Array[], changed: readonly Float32Array[], width: number): number {
  let sum = 0;
  let tokens = 0;
  for (const [sequence, a] of exact.entries()) {
    const b = changed[sequence]!;
    for (let start = 0; start < a.length; start += width) {
      let [error, energy] = [0, 0];
      for (let i = start; i < start + width; i++) {
        error += (b[i]! - a[i]!) ** 2;
        energy += a[i]! ** 2;
      }
      if (energy === 0) continue;
      sum += error / energy;
      tokens++;
    }
  }
  return tokens === 0 ? 0 : sum / tokens;
}

/** The candidate that most modules take is the rule for all; the others' modules are named before it. */
function recipeData(modules: readonly ModuleSensitivity[], { candidates, gptq }: SensitivityScanOptions): RecipeData {
  const takers = candidates.map((_, index) => modules.filter(({ choice }) => choice === index));
  const common = takers.reduce((most, each, index) => (each.length > takers[most]!.length ? index : most), 0);
  const named = takers.flatMap((each, index) =>
    index === common ? [] : each.map(({ module }) => ({ match: module, ...linearRecipeNames(candidates[index]!) })),
  );
  const kept = modules.filter(({ choice }) => choice === candidates.length).map(({ module }) => module);
  return {
    rules: [...named, { match: "*", ...linearRecipeNames(candidates[common]!) }],
    ignore: ["lm_head", ...kept],
    ...(gptq === undefined ? {} : { gptq }),
  };
}

function invalid(field: string, sentence: string): KvantError {
  return new KvantError("INVALID_ARGUMENT", sentence, { field });
}
