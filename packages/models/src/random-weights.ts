import type { Executable, Plan } from "@kvant/kernels";
import type { LoadProgress } from "./load-model.ts";
import { rowChunks } from "./row-chunks.ts";

// Values per period of the random stream. Weights are cut from it at shifting offsets: drawing billions of values would take
// longer than the measurement that needs them. A prime, so that rows of a matrix begin at different places of it.
const period = (1 << 22) - 3;
const standardDeviation = 0.02;
/** One input channel in this many has weights eight times as large, as trained models do; quantization must cope with it. */
const outlierEvery = 512;
const outlierExponent = 3 << 7; // in bfloat16 bits
const exponentMask = 0x7f80;

/**
 * Fills a plan with random weights, for measuring speed without a checkpoint: matrices of normal values with a standard
 * deviation of 0.02 and a few outlier channels, norms of ones, biases of zeros. The same seed gives the same weights.
 */
export function loadRandomWeights(
  plan: Pick<Plan, "weights">,
  executable: Pick<Executable, "loadWeight" | "loadWeightRows">,
  seed: number,
  onProgress: (progress: LoadProgress) => void = () => undefined,
): void {
  const count = plan.weights.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
  const stream = normalBfloat16(seed, Math.min(period, count));
  const totalBytes = 2 * count;
  let [offset, loadedBytes] = [0, 0];
  let buffer = new Uint16Array();
  plan.weights.forEach((weight, index) => {
    const { id, class: kind, rows, cols } = weight;
    for (const chunk of rowChunks([weight], 2, executable)) {
      const chunkCount = chunk.rows * cols;
      if (buffer.length < chunkCount) buffer = new Uint16Array(chunkCount);
      const values = buffer.subarray(0, chunkCount);
      if (kind === "norm") {
        values.fill(0x3f80); // 1
      } else if (kind === "bias") {
        values.fill(0);
      } else {
        offset = fill(values, stream, offset);
        enlargeOutliers(values, cols);
      }
      const source = { dtype: "bf16", data: new Uint8Array(values.buffer, 0, values.byteLength) } as const;
      if (chunk.rows === rows) executable.loadWeight(id, source);
      else executable.loadWeightRows?.(id, chunk.firstRow, source);
      loadedBytes += values.byteLength;
    }
    const [loadedTensors, totalTensors] = [index + 1, plan.weights.length];
    onProgress({ tensorName: weight.name, loadedTensors, totalTensors, loadedBytes, totalBytes });
    if (kind !== "norm" && kind !== "bias") offset = (offset + 7919) % stream.length; // so that equal shapes do not get equal values
  });
}

/** Copies from the stream, over and over. @returns where the next values begin */
function fill(values: Uint16Array, stream: Uint16Array, offset: number): number {
  for (let start = 0; start < values.length; ) {
    const run = Math.min(values.length - start, stream.length - offset);
    values.set(stream.subarray(offset, offset + run), start);
    start += run;
    offset = (offset + run) % stream.length;
  }
  return offset;
}

function enlargeOutliers(values: Uint16Array, cols: number): void {
  for (let first = 0; first < values.length; first += cols) {
    for (let col = outlierEvery >> 1; col < cols; col += outlierEvery) {
      const bits = values[first + col]!;
      if ((bits & exponentMask) !== 0) values[first + col] = bits + outlierExponent;
    }
  }
}

/** `[count]` normal values (Box and Muller, 1958) as bfloat16 bits. */
function normalBfloat16(seed: number, count: number): Uint16Array {
  const next = uniformSource(seed);
  const result = new Uint16Array(count);
  const float = new Float32Array(1);
  const bits = new Uint32Array(float.buffer);
  const put = (index: number, value: number): void => {
    float[0] = value;
    const word = bits[0]!;
    result[index] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16; // to nearest even; no value comes near infinity
  };
  for (let index = 0; index < count; index += 2) {
    const radius = standardDeviation * Math.sqrt(-2 * Math.log(next()));
    const angle = 2 * Math.PI * next();
    put(index, radius * Math.cos(angle));
    if (index + 1 < count) put(index + 1, radius * Math.sin(angle));
  }
  return result;
}

/** In (0, 1): xorshift32 (Marsaglia, 2003), whose fixed point is 0. */
function uniformSource(seed: number): () => number {
  let state = seed >>> 0 || 0x9e3779b9;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
