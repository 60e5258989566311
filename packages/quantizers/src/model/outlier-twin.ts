import { type Checkpoint, CheckpointWriter, type ModelConfig, type Tensor } from "@kvant/checkpoint";
import { KvantError } from "@kvant/core";
import { uniforms } from "../uniforms.ts";
import type { QuantizeRuntime } from "./quantize-runtime.ts";

export interface OutlierTwinOptions {
  readonly checkpoint: Checkpoint;
  readonly config: ModelConfig;
  readonly runtime: Pick<QuantizeRuntime, "layerCount" | "hiddenSize" | "parts">;
  /** Folder to write; must not exist. */
  readonly out: string;
  /** What the chosen channels are multiplied by, above 0. */
  readonly factor: number;
  /** Channels of the hidden state, the same in every layer, as outliers of large models are. */
  readonly channelCount: number;
  readonly seed: number;
}

/**
 * Writes a twin of a model that computes the same and is hard to quantize: in every layer a few channels of each norm are
 * multiplied by a factor, and the columns of the weights that read them divided by it. Large language models grow such
 * activation outliers by themselves, in few channels and all layers (Dettmers et al. 2022, "LLM.int8()", arXiv:2208.07339;
 * Xiao et al. 2023, "SmoothQuant", arXiv:2211.10438); small ones do not. All tensors are written in float32, in which logits
 * stay the same but for the last bits.
 * @returns the channels, ascending
 * @throws KvantError INVALID_ARGUMENT if `out` exists, or for a factor or a number of channels that cannot be; DISK_FULL,
 * WRITE_FAILED
 */
export function writeOutlierTwin(options: OutlierTwinOptions): readonly number[] {
  const { checkpoint, config, runtime, out, factor } = options;
  if (!(factor > 0 && Number.isFinite(factor))) throw invalid("factor", `a factor is above 0, not ${factor}`);
  const channels = outlierChannels(options);
  const edits = new Map<string, (values: Float32Array) => void>();
  for (let layer = 0; layer < runtime.layerCount; layer++) {
    for (const { madeBy, modules, width } of runtime.parts(layer)) {
      if (madeBy.kind !== "norm") continue;
      edits.set(`${madeBy.module}.weight`, (norm) => {
        for (const channel of channels) norm[channel]! *= factor;
      });
      for (const module of modules) edits.set(`${module}.weight`, (weight) => divideColumns(weight, width));
    }
  }
  const divideColumns = (weight: Float32Array, width: number): void => {
    for (let row = 0; row < weight.length; row += width) {
      for (const channel of channels) weight[row + channel]! /= factor;
    }
  };
  const writer = new CheckpointWriter(out);
  try {
    [...checkpoint.tensors.keys()].forEach((name, index) => {
      const values = Float32Array.from(checkpoint.readFloat32(name));
      edits.get(name)?.(values);
      const tensor = float32Tensor(values, checkpoint.tensors.get(name)!.shape);
      writer.writePart(`tensor-${String(index).padStart(5, "0")}`, new Map([[name, tensor]]));
    });
    writer.finish({ config: { ...config.raw, torch_dtype: "float32" }, copyFrom: checkpoint.folder });
  } finally {
    writer.abort();
  }
  return channels;
}

function outlierChannels({ runtime, channelCount, seed }: OutlierTwinOptions): readonly number[] {
  const { hiddenSize } = runtime;
  if (!Number.isInteger(channelCount) || channelCount < 1 || channelCount > hiddenSize) {
    throw invalid("channelCount", `outliers go into 1 to ${hiddenSize} channels, not ${channelCount}`);
  }
  const random = uniforms(seed);
  const chosen = new Set<number>();
  while (chosen.size < channelCount) chosen.add(Math.floor(random() * hiddenSize));
  return [...chosen].sort((a, b) => a - b);
}

function float32Tensor(values: Float32Array, shape: readonly number[]): Tensor {
  return { dtype: "F32", shape, data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

function invalid(field: string, sentence: string): KvantError {
  return new KvantError("INVALID_ARGUMENT", sentence, { field });
}
