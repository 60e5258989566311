import type { Checkpoint, Dtype, QuantizedWeights, TensorInfo } from "@kvant/checkpoint";
import { KvantError } from "@kvant/core";
import { type QuantizedTensor, weightBytes } from "@kvant/formats";
import type { Executable, Plan, PlanWeight } from "@kvant/kernels";
import { rowChunks } from "./row-chunks.ts";
import type { StoredDtype } from "./scheme.ts";

const floatDtypes: Partial<Record<Dtype, StoredDtype>> = { F32: "fp32", BF16: "bf16", F16: "fp16" };

/** How far loading has come. */
export interface LoadProgress {
  readonly tensorName: string;
  readonly loadedTensors: number;
  readonly totalTensors: number;
  /** Bytes read from the checkpoint so far and in all. */
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

/**
 * The format that most bytes of the checkpoint's float tensors have; what `resolveScheme` calls stored. `quantizedNames` are
 * tensors of quantized weights, whose scales do not count.
 */
export function storedDtype(
  checkpoint: Pick<Checkpoint, "tensors">,
  quantizedNames: ReadonlySet<string> = new Set(),
): StoredDtype {
  const bytes = { fp32: 0, bf16: 0, fp16: 0 };
  for (const tensor of checkpoint.tensors.values()) {
    const dtype = floatDtypes[tensor.dtype];
    if (dtype !== undefined && !quantizedNames.has(tensor.name)) bytes[dtype] += tensor.bytes;
  }
  return (["bf16", "fp16", "fp32"] as const).reduce((most, each) => (bytes[each] > bytes[most] ? each : most));
}

export interface LoadModelOptions {
  /** The checkpoint's quantized weights, whose codes are loaded as they are; absent: all weights are floats. */
  readonly quantized?: Pick<QuantizedWeights, "modules" | "readQuantized"> | undefined;
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
}

/**
 * Streams every tensor that the plan names from the checkpoint into the executable, one at a time and large ones in chunks of
 * rows; a tensor that several weights share (tied embeddings) is read once. All names, shapes and dtypes of float tensors are
 * checked before the first is read.
 * @throws KvantError TENSOR_MISSING naming every missing tensor, TENSOR_SHAPE, CHECKPOINT_TRUNCATED
 */
export function loadModel(
  checkpoint: Pick<Checkpoint, "tensors" | "read" | "readRows">,
  plan: Plan,
  executable: Pick<Executable, "loadWeight" | "loadWeightRows" | "loadQuantized">,
  { quantized, onProgress = () => undefined }: LoadModelOptions = {},
): void {
  const weightsOf = new Map<string, PlanWeight[]>();
  const coded: { readonly weight: PlanWeight; readonly module: string; readonly bytes: number }[] = [];
  for (const weight of plan.weights) {
    const module = weight.name.replace(/\.weight$/, "");
    if (quantized?.modules.has(module)) coded.push({ weight, module, bytes: heldBytes(weight) });
    else weightsOf.set(weight.name, [...(weightsOf.get(weight.name) ?? []), weight]);
  }
  const missing = [...weightsOf.keys()].filter((name) => !checkpoint.tensors.has(name));
  if (missing.length > 0) {
    const shown = missing.slice(0, 8).map((name) => `"${name}"`);
    const rest = missing.length - shown.length;
    throw new KvantError(
      "TENSOR_MISSING",
      `the checkpoint lacks ${shown.join(", ")}${rest > 0 ? ` and ${rest} more` : ""}, which ${plan.name} needs`,
      { field: missing[0]! },
    );
  }
  const infos = [...weightsOf].map(([name, weights]) => ({ weights, info: checkpoint.tensors.get(name)! }));
  for (const { weights, info } of infos) for (const weight of weights) checkTensor(info, weight);

  const totalBytes = [...infos.map(({ info }) => info), ...coded].reduce((sum, { bytes }) => sum + bytes, 0);
  const totalTensors = infos.length + coded.length;
  let [loadedBytes, loadedTensors] = [0, 0];
  const advance = (tensorName: string, bytes: number) => {
    loadedBytes += bytes;
    loadedTensors++;
    onProgress({ tensorName, loadedTensors, totalTensors, loadedBytes, totalBytes });
  };
  for (const { weight, module, bytes } of coded) {
    executable.loadQuantized(weight.id, 0, checkedTensor(quantized!.readQuantized(module), module, weight));
    advance(module, bytes);
  }
  for (const { weights, info } of infos) {
    const dtype = floatDtypes[info.dtype]!;
    const chunks = rowChunks(weights, info.bytes / (weights[0]!.rows * weights[0]!.cols), executable);
    for (const { firstRow, rows } of chunks) {
      const isWhole = chunks.length === 1;
      const { data } = isWhole ? checkpoint.read(info.name) : checkpoint.readRows(info.name, firstRow, rows);
      for (const { id } of weights) {
        if (isWhole) executable.loadWeight(id, { dtype, data });
        else executable.loadWeightRows?.(id, firstRow, { dtype, data });
      }
    }
    advance(info.name, info.bytes);
  }
}

function heldBytes({ format, rows, cols }: PlanWeight): number {
  const { codes, scales } = weightBytes(format, rows, cols);
  return codes + scales;
}

function checkedTensor(tensor: QuantizedTensor, module: string, { rows, cols }: PlanWeight): QuantizedTensor {
  if (tensor.rows === rows && tensor.cols === cols) return tensor;
  throw new KvantError(
    "TENSOR_SHAPE",
    `the quantized weight of "${module}" has shape [${tensor.rows}, ${tensor.cols}]; the configuration implies [${rows}, ${cols}]`,
    { field: `${module}.weight` },
  );
}

function checkTensor(info: TensorInfo, { rows, cols, class: kind }: PlanWeight): void {
  const expected = kind === "norm" || kind === "bias" ? [cols] : [rows, cols];
  if (info.shape.length !== expected.length || info.shape.some((size, axis) => size !== expected[axis])) {
    throw new KvantError(
      "TENSOR_SHAPE",
      `tensor "${info.name}" has shape [${info.shape.join(", ")}]; the configuration implies [${expected.join(", ")}]`,
      { field: info.name },
    );
  }
  if (floatDtypes[info.dtype] !== undefined) return;
  throw new KvantError(
    "TENSOR_SHAPE",
    `tensor "${info.name}" has dtype ${info.dtype}; weights are read from ${Object.keys(floatDtypes).join(", ")}`,
    { field: info.name },
  );
}
