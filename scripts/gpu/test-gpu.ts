// Runs the conformance suite and the golden models on a CUDA device, without a test runner: a GPU host needs only Node, this
// file bundled, the addon and the golden models.
//   --device cuda:N       default cuda
//   --only TEXT           only checks whose name holds TEXT
//   --golden FOLDER       the golden models; default packages/models/test/golden-models
// Prints one line per failure and a summary as the last line; the exit code is 0 only when all passed.
import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { conformanceChecks } from "../../packages/kernels/src/conformance/index.ts";
import { createBackend, cudaAbsence } from "../../packages/kernels/src/index.ts";
import { goldenFailures } from "../../packages/models/test/golden-check.ts";

const { values } = parseArgs({
  options: {
    device: { type: "string", default: "cuda" },
    only: { type: "string", default: "" },
    golden: { type: "string", default: "packages/models/test/golden-models" },
  },
});

const absence = cudaAbsence();
if (absence !== undefined) {
  console.log(`SKIPPED: the GPU tests: cuda is absent: ${absence}`);
} else {
  process.exitCode = (await runAll()) === 0 ? 0 : 1;
}

/** Returns the number of failed checks. */
async function runAll(): Promise<number> {
  const { device, only } = values;
  console.log(`device ${device}: ${createBackend(device).info.tier}`);
  const passed = new Map<string, number>();
  const failed = new Map<string, number>();
  const report = (group: string, name: string, sentences: readonly string[]) => {
    const counts = sentences.length === 0 ? passed : failed;
    counts.set(group, (counts.get(group) ?? 0) + 1);
    if (sentences.length > 0) console.log(`FAILED ${name}: ${sentences.slice(0, 2).join("; ").slice(0, 300)}`);
  };
  for (const check of conformanceChecks) {
    const name = `${check.group}: ${check.name}`;
    if (!name.includes(only)) continue;
    const reason = check.absentOn?.cuda;
    if (reason !== undefined) {
      console.log(`SKIPPED ${name}: ${reason}`);
      continue;
    }
    const create = (options = {}) => createBackend(device, { deterministic: true, ...options });
    report(check.group, name, await check.run(create).catch((error: unknown) => [String(error)]));
  }
  for (const name of readdirSync(values.golden).sort()) {
    if (!`golden ${name}`.includes(only)) continue;
    for (const deterministic of [true, false]) {
      const backend = createBackend(device, { deterministic });
      const sentences = await goldenFailures(resolve(values.golden, name), backend).catch((error: unknown) => [
        String(error),
      ]);
      report("golden models", `golden ${name}${deterministic ? ", deterministic" : ""}`, sentences);
    }
  }
  const groups = [...new Set([...passed.keys(), ...failed.keys()])];
  for (const group of groups)
    console.log(`${group}: ${passed.get(group) ?? 0} passed, ${failed.get(group) ?? 0} failed`);
  const total = [...failed.values()].reduce((sum, count) => sum + count, 0);
  console.log(`${[...passed.values()].reduce((sum, count) => sum + count, 0)} passed, ${total} failed`);
  return total;
}
