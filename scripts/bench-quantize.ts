// npx tsx --conditions=@kvant/source scripts/bench-quantize.ts [-- --threads 2 --rows 4096 --cols 8192 --tokens 32768 --width 640]
// What quantizers spend their time on, in TypeScript and native. AbsMax moves memory: bytes read and written per second and against
// the read probe. Values are read once, but twice for one scale of a whole matrix, which no code can do without. Products and
// factors compute: operations that are needed, a multiply-add being two.
import { parseArgs } from "node:util";
import { median } from "../bench/src/median.ts";
import { probesOf } from "../bench/src/probes.ts";
import { parseWeightFormat, quantizeAbsMax } from "../packages/formats/src/index.ts";
import { loadAddon, nativeInfo, nativeQuantizeMath } from "../packages/kernels/src/index.ts";
import { accelerate, addGram, cholesky, inverseCholeskyUpper } from "../packages/quantizers/src/index.ts";

const { values: flags } = parseArgs({
  options: {
    threads: { type: "string" },
    rows: { type: "string", default: "4096" },
    cols: { type: "string", default: "8192" },
    tokens: { type: "string", default: "32768" },
    width: { type: "string", default: "640" },
  },
});
const [rows, cols] = [Number(flags.rows), Number(flags.cols)];
const [tokens, width] = [Number(flags.tokens), Number(flags.width)];
const { math, reason } = nativeQuantizeMath({ threads: Number(flags.threads ?? nativeInfo().cores) });
if (math === undefined) throw new Error(reason);
const { threads, tier } = math;
const repeats = 5;

function secondsOf(work: () => void): number {
  const start = performance.now();
  work();
  return (performance.now() - start) / 1e3;
}

/** Median of several runs after one that does not count. */
function typicalSeconds(work: () => void): number {
  work();
  return median(Array.from({ length: repeats }, () => secondsOf(work)));
}

const milliseconds = (seconds: number) => `${(1e3 * seconds).toFixed(1)} ms`;

function randomFloats(count: number): Float32Array {
  const values = new Float32Array(count);
  for (let i = 0, state = 1; i < count; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    values[i] = state / 2 ** 31;
  }
  return values;
}

const read = probesOf({ device: "cpu", threads, tier })!.read();
console.log(`${tier}, ${threads} threads; ${(read / 1e9).toFixed(1)} GB/s can be read`);

// The pass alone writes to arrays that are there; the library call also gets new ones from the system, page by page.
const native = loadAddon().createQuantizeMath!({ threads, tier });
const titles = ["reads", "pass", "GB/s", "of the probe", "library call", "TypeScript"];
const printRow = (name: string, columns: readonly string[]) =>
  console.log(name.padEnd(24), columns.map((each, at) => each.padStart(at === 0 ? 5 : 14)).join(""));
console.log("");
printRow(`quantize [${rows}, ${cols}]`, titles);
const matrix = randomFloats(rows * cols);
for (const [name, groupSize] of [
  ["int8-tensor", -2],
  ["int8-channel", -1],
  ["int8-g128", 128],
  ["int4-channel", -1],
  ["int4-g128", 128],
  ["int4-g32", 32],
  ["int3-g128", 128],
  ["e4m3-channel", -1],
  ["e4m3-g128", 128],
  ["e5m2-channel", -1],
  ["fp4-g32", 32],
] as const) {
  const weightFormat = parseWeightFormat(name);
  const { codes, scales } = math.quantizeAbsMax(matrix, rows, cols, weightFormat)!;
  const { format } = weightFormat;
  const pass = typicalSeconds(() =>
    native.quantizeAbsMax({ values: matrix, rows, cols, format, groupSize, codes, scales }),
  );
  const call = typicalSeconds(() => math.quantizeAbsMax(matrix, rows, cols, weightFormat));
  const some = Math.min(rows, 256); // of the rows: it takes long
  const slow =
    secondsOf(() => quantizeAbsMax(matrix.subarray(0, some * cols), some, cols, weightFormat)) * (rows / some);
  const reads = weightFormat.granularity?.kind === "tensor" ? 2 : 1;
  const rate = (reads * matrix.byteLength + codes.byteLength + scales.byteLength) / pass;
  const columns = [String(reads), milliseconds(pass), (rate / 1e9).toFixed(1), `${((100 * rate) / read).toFixed(0)} %`];
  printRow(name, [...columns, milliseconds(call), milliseconds(slow)]);
}

function compare(name: string, operations: number, work: () => void): void {
  accelerate({});
  const slow = secondsOf(work);
  accelerate(math!);
  const fast = typicalSeconds(work);
  accelerate({});
  const figure = (seconds: number) => `${milliseconds(seconds)}, ${(operations / seconds / 1e9).toFixed(1)} GFLOP/s`;
  console.log(`${name.padEnd(28)} TypeScript ${figure(slow)}; native ${figure(fast)}`);
}

console.log("");
const x = randomFloats(tokens * width);
const gram = new Float64Array(width * width);
compare(`gram [${tokens}, ${width}]`, tokens * width * (width + 1), () => {
  gram.fill(0);
  addGram(x, tokens, width, gram);
});
compare(`Cholesky [${width}, ${width}]`, width ** 3 / 3, () => cholesky(gram, width));
compare(`inverse factor [${width}, ${width}]`, (2 * width ** 3) / 3, () => inverseCholeskyUpper(gram, width));
