import type { Checkpoint, ModelConfig } from "@kvant/checkpoint";
import { KvantError } from "@kvant/core";
import { type Backend, type BackendInfo, createBackend, type Executable, greedy, rowWants } from "@kvant/kernels";
import { buildLayerPlan, kTap, type LayerPlan, resolveScheme, vTap } from "@kvant/models";
import {
  type Arithmetic,
  type ForwardLayerOptions,
  feedTap,
  keysTap,
  type LayerTap,
  type LayerTensors,
  type QuantizeRuntime,
  valuesTap,
} from "@kvant/quantizers";
import { DeviceCollector, DeviceMagnitudeCollector, DeviceStatisticsCollector } from "./device-collectors.ts";
import { layerParts } from "./layer-parts.ts";

const pageTokens = 16;
const none = new Int32Array(0);
const embeddingName = "model.embed_tokens.weight";

export interface LayerRunnerOptions {
  readonly config: ModelConfig;
  readonly checkpoint: Pick<Checkpoint, "tensors" | "readRows" | "readFloat32">;
  /** `cpu` (default), `cuda`, `cuda:N` or `reference`. */
  readonly device?: string | undefined;
  readonly threads?: number | undefined;
}

/**
 * Runs decoder layers one at a time for `quantizeModel`, each as a plan of its own with float32 weights and activations,
 * through the same kernels as serving. KV pages are float32 on the CPU and bf16 on CUDA, where attention rounds queries and
 * softmax weights as well, as it does in serving. One layer's weights are on the device at a time.
 */
export class LayerRunner implements QuantizeRuntime {
  readonly layerCount: number;
  readonly hiddenSize: number;
  readonly kvHeadCount: number;
  readonly headDim: number;
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly beginningOfSequenceId: number | undefined;
  readonly arithmetic: Arithmetic;
  readonly collectors: QuantizeRuntime["collectors"];
  readonly #config: ModelConfig;
  readonly #backend: Backend;
  /** Of keys and values: float32 but on CUDA, where attention over it would take as long as all products of the layer. */
  readonly #kvFormat: "fp32" | "bf16";
  readonly #embedding: Float32Array; // [vocabSize, hiddenSize]

  /** @throws KvantError TENSOR_MISSING, TENSOR_SHAPE, and what `createBackend` throws */
  constructor({ config, checkpoint, device = "cpu", threads }: LayerRunnerOptions) {
    this.#config = config;
    this.layerCount = config.layerCount;
    this.hiddenSize = config.hiddenSize;
    this.kvHeadCount = config.kvHeadCount;
    this.headDim = config.headDim;
    this.vocabSize = config.vocabSize;
    this.contextLength = config.contextLength;
    this.beginningOfSequenceId = config.bosTokenIds[0];
    this.#backend = createBackend(device, { threads });
    const { calibration, info } = this.#backend;
    this.#kvFormat = info.name === "cuda" ? "bf16" : "fp32";
    const absence = calibration?.absence();
    if (calibration !== undefined && absence === undefined) {
      this.collectors = {
        statistics: (width, tokenCount) => new DeviceStatisticsCollector(calibration, width, tokenCount),
        magnitudes: (width) => new DeviceMagnitudeCollector(calibration, width),
      };
    }
    this.arithmetic = {
      layers:
        info.name === "cuda"
          ? `float32, attention in ${this.#kvFormat}, on ${info.tier}`
          : `float32 on the CPU (${info.tier})`,
      methods: `float64 on ${this.collectors === undefined ? "the CPU" : info.tier}${absence === undefined ? "" : `: ${absence}`}`,
    };
    this.#embedding = checkpoint.readFloat32(embeddingName);
    const expected = config.vocabSize * config.hiddenSize;
    if (this.#embedding.length === expected) return;
    const sentence = `tensor "${embeddingName}" holds ${this.#embedding.length} values; the configuration implies ${expected}`;
    throw new KvantError("TENSOR_SHAPE", sentence, { field: embeddingName });
  }

  get backendInfo(): BackendInfo {
    return this.#backend.info;
  }

  parts(layer: number) {
    return layerParts(this.#config, layer);
  }

  tensorNames(layer: number): readonly string[] {
    return [...new Set(this.#plan(layer, 1, []).plan.weights.map(({ name }) => name))];
  }

  embed(tokenIds: Int32Array): Float32Array {
    const { hiddenSize } = this;
    const states = new Float32Array(tokenIds.length * hiddenSize);
    tokenIds.forEach((id, index) => {
      if (!(id >= 0 && id < this.vocabSize)) {
        throw new KvantError("INVALID_ARGUMENT", `token id ${id} is not within 0 .. ${this.vocabSize - 1}`);
      }
      states.set(this.#embedding.subarray(id * hiddenSize, (id + 1) * hiddenSize), index * hiddenSize);
    });
    return states;
  }

  async forwardLayer(
    layer: number,
    tensors: LayerTensors,
    states: readonly Float32Array[],
    { taps, states: fate, onSequence }: ForwardLayerOptions,
  ): Promise<void> {
    const { hiddenSize } = this;
    const longest = states.reduce((most, each) => Math.max(most, each.length / hiddenSize), 0);
    if (longest === 0) return;
    const recorded = this.#plan(layer, longest, taps);
    const pageCount = 1 + Math.ceil(longest / pageTokens);
    const limits = { pageTokens, pageCounts: [pageCount], maxRows: 1, maxTokens: longest, maxLogitRows: 1 };
    const executable = this.#backend.compile(recorded.plan, limits);
    try {
      for (const { id, name } of recorded.plan.weights) {
        const values = tensors.get(name);
        if (values === undefined) throw new KvantError("TENSOR_MISSING", `layer ${layer} lacks tensor "${name}"`);
        executable.loadWeight(id, {
          dtype: "fp32",
          data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
        });
      }
      const buffers = tapBuffers(recorded, layer, taps);
      for (const sequence of states) {
        const tokens = sequence.length / hiddenSize;
        await runSequence(executable, recorded, sequence, tokens);
        for (const [index, tap] of taps.entries()) {
          const buffer = buffers[index]!;
          if ("into" in tap && tap.into instanceof DeviceCollector) tap.into.gather(executable, buffer, tokens);
          else feedTap(tap, executable.readBuffer(buffer, tokens), tokens);
        }
        if (fate === "replace") executable.readBuffer(recorded.output, tokens, sequence);
        onSequence?.();
      }
    } finally {
      await executable.close();
    }
  }

  #plan(layer: number, contextLength: number, taps: readonly LayerTap[]): LayerPlan {
    const scheme = resolveScheme({ weights: "fp32", activations: "fp32", kvFormat: this.#kvFormat }, "fp32");
    const names = new Set(taps.map((tap) => tapName(layer, tap)));
    return buildLayerPlan(this.#config, layer, { scheme, contextLength, tap: (name) => names.has(name) });
  }
}

/** The name in the plan: that of a weight whose input is tapped, or of the layer's keys or values. */
function tapName(layer: number, { name }: LayerTap): string {
  if (name === keysTap) return kTap(layer);
  if (name === valuesTap) return vTap(layer);
  return `${name}.weight`;
}

function tapBuffers({ plan }: LayerPlan, layer: number, taps: readonly LayerTap[]) {
  const buffers = new Map(plan.ops.flatMap((op) => (op.op === "tap" ? [[op.name, op.x] as const] : [])));
  return taps.map((tap) => buffers.get(tapName(layer, tap))!);
}

async function runSequence(executable: Executable, { input }: LayerPlan, states: Float32Array, tokens: number) {
  executable.writeBuffer(input, states);
  await executable.submit({
    rowSlots: Int32Array.of(0),
    rowStarts: Int32Array.of(0, tokens),
    rowPositions: Int32Array.of(0),
    rowWants: Uint8Array.of(rowWants.nothing),
    tokenIds: new Int32Array(tokens),
    targets: none,
    pageAppends: pageAppends(Math.ceil(tokens / pageTokens)),
    pageSwaps: none,
    pageCopies: none,
    rowUpdates: [{ slot: 0, sampling: greedy, promptIds: none, outputIds: none }],
  });
}

/** A table of pages 1, 2, ... for row slot 0. */
function pageAppends(pages: number): Int32Array {
  const appends = new Int32Array(4 * pages);
  for (let page = 0; page < pages; page++) appends.set([0, 0, page, page + 1], 4 * page);
  return appends;
}
