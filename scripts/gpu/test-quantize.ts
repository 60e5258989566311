// Runs the checks of statistics and quantization methods on a CUDA device against the functions of @kvant/quantizers, and a layer of
// a golden model through both, without a test runner.
//   --device cuda:N       default cuda; cpu compares the oracle with itself
//   --only TEXT           only checks whose name holds TEXT
//   --golden FOLDER       the golden models; default packages/models/test/golden-models
// Prints one line per failure and a summary as the last line; the exit code is 0 only when all passed.
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { openCheckpoint, readModelConfig } from "../../packages/checkpoint/src/index.ts";
import { LayerRunner } from "../../packages/engine/src/index.ts";
import { DeviceStatisticsCollector } from "../../packages/engine/src/quantize/device-collectors.ts";
import { quantizeChecks } from "../../packages/engine/src/testing/quantize-checks.ts";
import { createBackend, cudaAbsence } from "../../packages/kernels/src/index.ts";
import { collectStatistics, PartCollector } from "../../packages/quantizers/src/index.ts";

const { values } = parseArgs({
  options: {
    device: { type: "string", default: "cuda" },
    only: { type: "string", default: "" },
    golden: { type: "string", default: "packages/models/test/golden-models" },
  },
});
const { device, only, golden } = values;
// CUDA rounds queries, keys, values and softmax weights to bf16, 2^-9 each.
const layerTolerance = 1e-2;
const absence = device.startsWith("cuda") ? (cudaAbsence() ?? createBackend(device).calibration?.absence()) : undefined;
if (absence !== undefined) console.log(`SKIPPED: quantization on ${device}: ${absence}`);
else await runAll();

async function runAll(): Promise<void> {
  const { calibration, info } = createBackend(device);
  console.log(`device ${device}: ${info.tier}`);
  const create = (width: number, tokens: number) =>
    calibration === undefined
      ? new PartCollector(width, tokens)
      : new DeviceStatisticsCollector(calibration, width, tokens);
  const checks = [
    ...quantizeChecks.map(({ name, run }) => ({ name, run: async () => run(create) })),
    { name: "a layer's statistics are those of the CPU", run: layerFailures },
  ];
  let [passed, failed] = [0, 0];
  const started = performance.now();
  for (const { name, run } of checks) {
    if (!name.includes(only)) continue;
    const sentences = await run().catch((error: unknown) => [String(error)]);
    if (sentences.length === 0) passed++;
    else failed++;
    if (sentences.length > 0) console.log(`FAILED ${name}: ${sentences.slice(0, 3).join("; ").slice(0, 400)}`);
  }
  console.log(`${passed} passed, ${failed} failed in ${((performance.now() - started) / 1000).toFixed(0)} s`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
}

/** The first layer of a golden model on both sides. */
async function layerFailures(): Promise<readonly string[]> {
  const model = resolve(golden, "llama");
  const config = readModelConfig(model);
  const checkpoint = openCheckpoint(model);
  try {
    const [found, expected] = await Promise.all([device, "cpu"].map((each) => statisticsOn(each, config, checkpoint)));
    return found!.flatMap(({ gram, sample, tokenCount }, part) => {
      const other = expected![part]!;
      const [own, oracle] = [gram.read(), other.gram.read()];
      const largest = oracle.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const worst = own.reduce((most, value, i) => Math.max(most, Math.abs(value - oracle[i]!)), 0);
      gram.release();
      return [
        ...(worst <= layerTolerance * largest ? [] : [`part ${part}: Gram matrices differ by ${worst} of ${largest}`]),
        ...(sample.length === other.sample.length && tokenCount === other.tokenCount
          ? []
          : [`part ${part}: other sizes`]),
      ];
    });
  } finally {
    checkpoint.close();
  }
}

async function statisticsOn(
  where: string,
  config: ReturnType<typeof readModelConfig>,
  checkpoint: ReturnType<typeof openCheckpoint>,
) {
  const runner = new LayerRunner({ config, checkpoint, device: where });
  const tensors = new Map(runner.tensorNames(0).map((name) => [name, checkpoint.readFloat32(name)] as const));
  const states = [40, 90].map((tokens) =>
    runner.embed(Int32Array.from({ length: tokens }, (_, i) => (i * 37) % config.vocabSize)),
  );
  return collectStatistics(runner, 0, tensors, states, { states: "replace" });
}
