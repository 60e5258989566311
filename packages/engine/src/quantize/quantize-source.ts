import type { Checkpoint, ModelConfig } from "@kvant/checkpoint";
import { KvantError } from "@kvant/core";
import { type CalibrationOptions, calibrationSamples, type QuantizeRuntime } from "@kvant/quantizers";
import type { Tokenizer } from "@kvant/tokenizer";
import type { EngineOptions } from "../engine-options.ts";
import { openModel } from "../load-engine-model.ts";
import { LayerRunner } from "./layer-runner.ts";

/** A checkpoint that is to be quantized, and what runs its layers. */
export interface QuantizeSource {
  readonly name: string;
  readonly config: ModelConfig;
  readonly checkpoint: Checkpoint;
  readonly tokenizer: Tokenizer | undefined;
  readonly runtime: QuantizeRuntime;
  close(): void;
}

/**
 * Opens a model folder for `quantizeCheckpoint`.
 * @throws KvantError INVALID_ARGUMENT for random weights, and what opening a model and a backend throws
 */
export function openQuantizeSource(
  options: Pick<EngineOptions, "model" | "load" | "device" | "threads">,
): QuantizeSource {
  const { name, config, checkpoint, tokenizer } = openModel(options);
  if (checkpoint === undefined) {
    throw new KvantError("INVALID_ARGUMENT", `${name}: random weights are not worth quantizing; name a model folder`, {
      field: "load",
    });
  }
  try {
    const { device, threads } = options;
    const runtime = new LayerRunner({ config, checkpoint, device, threads });
    return { name, config, checkpoint, tokenizer, runtime, close: () => checkpoint.close() };
  } catch (error) {
    checkpoint.close();
    throw error;
  }
}

/**
 * Calibration sequences of a source's own tokens.
 * @throws KvantError TOKENIZER_ABSENT, INVALID_ARGUMENT for samples longer than the context, and what `calibrationSamples` throws
 */
export function drawCalibration(
  { name, runtime, tokenizer }: QuantizeSource,
  options: CalibrationOptions,
): readonly Int32Array[] {
  if (tokenizer === undefined) {
    throw new KvantError("TOKENIZER_ABSENT", `${name} has no tokenizer, so it cannot read calibration text`);
  }
  if (options.sampleTokens > runtime.contextLength) {
    const sentence = `calibration samples of ${options.sampleTokens} tokens exceed the model's context of ${runtime.contextLength}`;
    throw new KvantError("INVALID_ARGUMENT", sentence, { field: "sampleTokens" });
  }
  const encode = (text: string) => tokenizer.encode(text, { addBos: false });
  return calibrationSamples(options, encode, runtime.beginningOfSequenceId);
}
