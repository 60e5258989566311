import { existsSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import {
  type Checkpoint,
  type ModelConfig,
  namedShape,
  openCheckpoint,
  type QuantizedWeights,
  quantizedWeights,
  readModelConfig,
  shapeNames,
} from "@kvant/checkpoint";
import { KvantError, limit } from "@kvant/core";
import { type Backend, createBackend, type Executable, type Plan } from "@kvant/kernels";
import {
  buildPlan,
  describeScheme,
  loadModel,
  loadRandomWeights,
  resolveScheme,
  resolveStoredScheme,
  type Scheme,
  storedDtype,
  type LoadProgress as WeightProgress,
  weightsName,
} from "@kvant/models";
import { byteTokenizer, loadTokenizer, type Tokenizer } from "@kvant/tokenizer";
import type { ModelBounds } from "./check-request.ts";
import type { ModelInfo, TensorClassReport } from "./engine.ts";
import type { EngineOptions, LoadProgress } from "./engine-options.ts";
import { hostPages } from "./host-pages.ts";
import { machineMemory } from "./machine-memory.ts";
import { groupPageBytes, pageBudget } from "./page-budget.ts";

export const defaultPageTokens = 16;
/** Enough for matrix products to run near their limit, little enough that a prompt does not hold up the streams beside it. */
const defaultMaxStepTokens = 256;
const defaultDeviceStepTokens = 2048;

/** A model made ready on a backend, and what the engine needs to know of it. */
export interface LoadedModel {
  readonly info: ModelInfo;
  readonly config: ModelConfig;
  readonly scheme: Scheme;
  readonly executable: Executable;
  readonly tokenizer: Tokenizer | undefined;
  readonly bounds: ModelBounds;
  readonly pageTokens: number;
  readonly pageCounts: readonly number[];
  readonly hostPageCounts: readonly number[];
  readonly maxRows: number;
  readonly maxStepTokens: number;
  close(): Promise<void>;
}

/** Sizes that differ between serving and evaluation. */
export interface LoadSizes {
  /** Tokens of one step whose logits are computed; default: one per row slot. */
  readonly maxLogitRows?: number;
}

/** Where a model's shape and weights come from. */
export interface ModelSource {
  readonly config: ModelConfig;
  readonly name: string;
  /** undefined: random weights. */
  readonly checkpoint: Checkpoint | undefined;
  /** The checkpoint's own quantized weights, where it has some. */
  readonly quantized: QuantizedWeights | undefined;
  readonly tokenizer: Tokenizer | undefined;
}

/**
 * Opens a model folder, or a shape for random weights.
 * @throws CHECKPOINT_NOT_FOUND, CHECKPOINT_INVALID, CONFIG_INVALID
 */
export function openModel({ model, load = "checkpoint" }: Pick<EngineOptions, "model" | "load">): ModelSource {
  if (load === "dummy") {
    const isFolder = existsSync(join(model, "config.json"));
    const config = isFolder ? readModelConfig(model) : namedShape(model);
    const tokenizer = byteTokenizer(config.vocabSize);
    return { config, name: basename(model), checkpoint: undefined, quantized: undefined, tokenizer };
  }
  if (!existsSync(model)) {
    throw new KvantError("CHECKPOINT_NOT_FOUND", `${model}: no such folder${absenceHint(model)}`, { field: "model" });
  }
  if (!statSync(model).isDirectory()) {
    const sentence = `${model}: is a file; a model is the folder that holds its config.json${isGguf(model) ? ggufHint : ""}`;
    throw new KvantError("CHECKPOINT_INVALID", sentence, { field: "model" });
  }
  const config = readModelConfig(model);
  const tokenizer = loadTokenizer(model);
  const checkpoint = openCheckpoint(model);
  try {
    const quantized = config.quantization && quantizedWeights(checkpoint, config.quantization);
    return { config, name: basename(resolve(model)), checkpoint, quantized, tokenizer };
  } catch (error) {
    checkpoint.close();
    throw error;
  }
}

const ggufHint = "; this release reads safetensors, not GGUF";

function isGguf(model: string): boolean {
  return model.toLowerCase().endsWith(".gguf");
}

/** What somebody who gave this name probably meant. */
function absenceHint(model: string): string {
  if ((shapeNames as readonly string[]).includes(model)) {
    return "; it names a shape, which loads random weights with `--load dummy`";
  }
  if (isGguf(model)) return ggufHint;
  if (/^[\w.-]+\/[\w.-]+$/.test(model))
    return "; this release downloads no models, so give the folder of a downloaded one";
  return "";
}

/** A model with its scheme and the plan that follows from both. */
export interface PlannedModel {
  readonly source: ModelSource;
  readonly scheme: Scheme;
  readonly plan: Plan;
}

/**
 * Opens a model and records its plan; loads no weights. The caller closes `source.checkpoint`.
 * @throws what `openModel`, `resolveScheme` and `buildPlan` throw
 */
export function planModel(options: EngineOptions): PlannedModel {
  const source = openModel(options);
  try {
    const { config, checkpoint } = source;
    const { contextLength } = options;
    const scheme = schemeOf(options, source);
    // Random weights were made for no context in particular.
    const longest =
      checkpoint === undefined ? Math.max(config.contextLength, contextLength ?? 0) : config.contextLength;
    const { plan } = buildPlan({ ...config, contextLength: longest }, scheme, { scales: checkpoint, contextLength });
    return { source, scheme, plan };
  } catch (error) {
    source.checkpoint?.close();
    throw error;
  }
}

function schemeOf(options: EngineOptions, { config, checkpoint, quantized }: ModelSource): Scheme {
  const stored = checkpoint === undefined ? "bf16" : storedDtype(checkpoint, quantized?.tensorNames);
  if (quantized === undefined) return resolveScheme(options, stored);
  return resolveStoredScheme(options, stored, { modules: quantized.modules, kv: config.quantization?.kv });
}

/** Opens, plans, compiles and loads. Frees what it has taken when a later part fails. */
export async function loadEngineModel(
  options: EngineOptions,
  onProgress: (progress: LoadProgress) => void = () => undefined,
  sizes: LoadSizes = {},
): Promise<LoadedModel> {
  const startedAt = performance.now();
  const { source, scheme, plan } = planModel(options);
  try {
    return await makeReady(options, source, scheme, plan, startedAt, onProgress, sizes);
  } finally {
    source.checkpoint?.close();
  }
}

async function makeReady(
  options: EngineOptions,
  source: ModelSource,
  scheme: Scheme,
  plan: Plan,
  startedAt: number,
  onProgress: (progress: LoadProgress) => void,
  sizes: LoadSizes,
): Promise<LoadedModel> {
  const { config, checkpoint } = source;
  const { device = "cpu", threads, deterministic } = options;
  const backend = createBackend(device, { threads, deterministic });
  const { pageTokens = defaultPageTokens, maxStepTokens = defaultStepTokens(device) } = options;
  const maxRows = rowCount(options.maxSequences);
  const { contextLength } = plan;
  const limits = { pageTokens, maxRows, maxTokens: maxStepTokens, maxLogitRows: sizes.maxLogitRows ?? maxRows };
  const deviceMemory = backend.deviceMemory?.(plan, limits);
  const budget = pageBudget(plan.kvGroups, { ...options, pageTokens, maxRows, contextLength, deviceMemory });
  const { pageCounts } = budget;
  const hostPageCounts = hostPages(plan.kvGroups, {
    swapMemoryBytes: options.swapMemoryBytes,
    pageTokens,
    pageCounts,
    deviceHasOwnMemory: deviceMemory !== undefined,
  });
  const executable = backend.compile(plan, { ...limits, pageCounts, hostPageCounts });
  try {
    const report = ({ tensorName, loadedBytes, totalBytes }: WeightProgress) =>
      onProgress({ tensor: tensorName, loadedBytes, totalBytes });
    if (checkpoint === undefined) loadRandomWeights(plan, executable, 1, report);
    else loadModel(checkpoint, plan, executable, { quantized: source.quantized, onProgress: report });
    if (options.warmUp) executable.warmUp?.();
  } catch (error) {
    await executable.close();
    throw error;
  }
  const loadSeconds = (performance.now() - startedAt) / 1000;
  const sizing = { pageCounts, hostPageCounts, deviceMemoryBytes: deviceMemory?.totalBytes ?? machineMemory() };
  return {
    info: describe(options, source, scheme, plan, backend, executable, sizing, loadSeconds),
    config,
    scheme,
    executable,
    tokenizer: source.tokenizer,
    bounds: {
      vocabSize: config.vocabSize,
      contextLength,
      poolTokens: budget.poolTokens,
      endOfSequenceIds: config.eosTokenIds,
    },
    pageTokens,
    pageCounts,
    hostPageCounts,
    maxRows,
    maxStepTokens,
    close: () => executable.close(),
  };
}

/** Tokens in one step by default. */
export function defaultStepTokens(device: string): number {
  return device.startsWith("cuda") ? defaultDeviceStepTokens : defaultMaxStepTokens;
}

function rowCount(asked = limit("concurrentSequences")): number {
  if (Number.isInteger(asked) && asked >= 1 && asked <= limit("concurrentSequences")) return asked;
  const sentence = `maxSequences is ${asked}; it must be an integer from 1 to ${limit("concurrentSequences")}`;
  throw new KvantError("INVALID_ARGUMENT", sentence, { field: "maxSequences" });
}

function describe(
  options: EngineOptions,
  { config, name, tokenizer }: ModelSource,
  scheme: Scheme,
  plan: Plan,
  { info }: Backend,
  executable: Executable,
  {
    pageCounts,
    hostPageCounts,
    deviceMemoryBytes,
  }: Pick<LoadedModel, "pageCounts" | "hostPageCounts"> & Pick<ModelInfo, "deviceMemoryBytes">,
  loadSeconds: number,
): ModelInfo {
  const memory = executable.memory();
  const { pageTokens = defaultPageTokens } = options;
  const hostBytes = plan.kvGroups.map((group, i) => hostPageCounts[i]! * groupPageBytes(group, pageTokens));
  return {
    name: options.servedModelName ?? name,
    architecture: config.architecture,
    contextLength: plan.contextLength,
    vocabSize: plan.vocabSize,
    weights: weightsName(scheme),
    activations: scheme.activations,
    kvFormat: scheme.kv,
    device: info.name === "cuda" ? "cuda" : "cpu",
    backend: info.name,
    tier: info.tier,
    threads: info.threads,
    deterministic: info.arithmetic === "exact",
    hasTokenizer: tokenizer !== undefined,
    hasChatTemplate: tokenizer?.chatTemplate !== undefined,
    tensorClasses: tensorClasses(plan),
    pageTokens,
    pageCount: pageCounts.reduce((sum, count) => sum + count - 1, 0),
    kvBytes: { codes: memory.kvCodeBytes, scales: memory.kvScaleBytes },
    swapBytes: hostBytes.reduce((sum, bytes) => sum + bytes, 0),
    weightBytes: memory.weightBytes,
    activationBytes: memory.activationBytes,
    deviceMemoryBytes,
    loadSeconds,
  };
}

/** What is really quantized, per tensor class. */
export function tensorClasses(plan: Pick<Plan, "weights">): TensorClassReport[] {
  return describeScheme(plan).map((row) => ({
    class: row.class,
    tensorCount: row.tensorCount,
    elementCount: row.parameterCount,
    format: row.format,
    activations: row.activations,
    isQuantized: row.isQuantized,
    bytes: row.codeBytes + row.scaleBytes,
  }));
}
