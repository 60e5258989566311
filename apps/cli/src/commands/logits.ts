import { readSafetensors, toInt32, writeSafetensors } from "@kvant/checkpoint";
import { KvantError } from "@kvant/core";
import { openForwardPass } from "@kvant/engine";
import { engineOptions, type ModelFlags } from "../model-options.ts";
import { modelLines, printRow, say } from "../print.ts";
import { loadingBar } from "../progress.ts";

export interface LogitsFlags extends ModelFlags {
  readonly input: string;
  readonly output: string;
  readonly json?: boolean;
}

/** Reads `input_ids` int32 [B, T], writes `logits` float32 [B, T, vocabulary] in the input's order. */
export async function logits(model: string, flags: LogitsFlags): Promise<void> {
  const ids = readSafetensors(flags.input).tensors.get("input_ids");
  if (ids === undefined) throw new KvantError("TENSOR_MISSING", `${flags.input}: holds no tensor "input_ids"`);
  const [batch, tokens] = ids.shape;
  if (ids.shape.length !== 2 || batch === undefined || tokens === undefined || batch * tokens === 0) {
    throw new KvantError(
      "TENSOR_SHAPE",
      `${flags.input}: input_ids has shape [${ids.shape.join(", ")}], not [B, T] with at least one token`,
    );
  }
  const values = toInt32(ids);
  const bar = loadingBar();
  const options = { ...engineOptions(model, flags), mostTokens: tokens };
  const { pass, info, close } = await openForwardPass(options, bar.onProgress).finally(bar.stop);
  try {
    say(modelLines(info));
    const stray = values.find((id) => id < 0 || id >= info.vocabSize);
    if (stray !== undefined) {
      throw new KvantError(
        "TOKEN_OUT_OF_RANGE",
        `${flags.input}: input_ids holds ${stray}; ids run from 0 to ${info.vocabSize - 1}`,
      );
    }
    const result = new Float32Array(batch * tokens * info.vocabSize);
    for (let row = 0; row < batch; row++) {
      const rowLogits = await pass.logits(values.subarray(row * tokens, (row + 1) * tokens));
      result.set(rowLogits, row * tokens * info.vocabSize);
    }
    const shape = [batch, tokens, info.vocabSize];
    writeSafetensors(flags.output, new Map([["logits", { dtype: "F32", shape, data: new Uint8Array(result.buffer) }]]));
    if (flags.json)
      printRow({
        model: info.name,
        weights: info.weights,
        activations: info.activations,
        kvFormat: info.kvFormat,
        device: info.device,
        backend: info.backend,
        tier: info.tier,
        shape,
      });
    say(`logits [${shape.join(", ")}] written to ${flags.output}`);
  } finally {
    await close();
  }
}
