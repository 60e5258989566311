// Runs a sample of the conformance suite on the addon in the tier that KVANT_CPU_TIER forces: under a sanitizer the whole
// suite would take an hour.
import { conformanceChecks } from "../../packages/kernels/src/conformance/index.ts";
import { createCpuBackend } from "../../packages/kernels/src/index.ts";

// Relatively prime to the lengths of the suite's inner lists, so that every format and shape has its turn.
const stride = 23;

const { tier } = createCpuBackend().info;
if (tier !== process.env.KVANT_CPU_TIER) throw new Error(`the tier is ${tier}, not ${process.env.KVANT_CPU_TIER}`);
const sample = conformanceChecks
  .filter(({ absentOn }) => absentOn?.cpu === undefined)
  .filter((_, index) => index % stride === 0);
let failed = 0;
for (const check of sample) {
  const sentences = await check.run(createCpuBackend).catch((error: unknown) => [String(error)]);
  if (sentences.length === 0) continue;
  failed += 1;
  console.error(`${check.group}: ${check.name}: ${sentences.join("; ")}`);
}
console.error(`${tier}: ${sample.length - failed} of ${sample.length} checks passed`);
process.exitCode = failed === 0 && sample.length > 0 ? 0 : 1;
