// Decode and prefill speed through the engine on a GPU host: one JSON line per pair of weight and KV formats.
//   --shape NAME --weights W,... --kv-format F,... --batch N --context N [--prompt N] [--decode-tokens N] [--rounds N]
import { parseArgs } from "node:util";
import { measureEngine } from "../../bench/src/engine/measure-engine.ts";

const { values } = parseArgs({
  options: {
    shape: { type: "string", default: "tinyllama-1.1b" },
    weights: { type: "string", default: "bf16" },
    "kv-format": { type: "string", default: "int8" },
    device: { type: "string", default: "cuda" },
    batch: { type: "string", default: "1" },
    context: { type: "string", default: "512" },
    prompt: { type: "string" },
    "decode-tokens": { type: "string", default: "64" },
    rounds: { type: "string", default: "2" },
  },
});

for (const weights of values.weights.split(",")) {
  for (const kvFormat of values["kv-format"].split(",")) {
    const row = await measureEngine({
      engine: { model: values.shape, load: "dummy", weights, kvFormat, device: values.device },
      batch: Number(values.batch),
      context: Number(values.context),
      ...(values.prompt === undefined ? {} : { prompt: Number(values.prompt) }),
      decodeTokens: Number(values["decode-tokens"]),
      rounds: Number(values.rounds),
    });
    console.log(JSON.stringify({ ...row, variants: [...new Set(row.variants)] }));
  }
}
