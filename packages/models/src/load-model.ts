import type { Checkpoint, Dtype, TensorInfo } from "@kvant/checkpoint";
import { KvantError } from "@kvant/core";
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

/** The format that most bytes of the checkpoint's float tensors have; what `resolveScheme` calls stored. */
export function storedDtype(checkpoint: Pick<Checkpoint, "tensors">): StoredDtype {
  const bytes = { fp32: 0, bf16: 0, fp16: 0 };
  for (const tensor of checkpoint.tensors.values()) {
    const dtype = floatDtypes[tensor.dtype];
    if (dtype !== undefined) bytes[dtype] += tensor.bytes;
  }
  return (["bf16", "fp16", "fp32"] as const).reduce((most, each) => (bytes[each] > bytes[most] ? each : most));
}

/**
 * Streams every tensor that the plan names from the checkpoint into the executable, one at a time and large ones in chunks of
 * rows; a tensor that several weights share (tied embeddings) is read once. All names, shapes and dtypes are checked before the first is read.
 * @throws KvantError TENSOR_MISSING naming every missing tensor, TENSOR_SHAPE, CHECKPOINT_TRUNCATED
 */
export function loadModel(
  checkpoint: Pick<Checkpoint, "tensors" | "read" | "readRows">,
  plan: Plan,
  executable: Pick<Executable, "loadWeight" | "loadWeightRows">,
  onProgress: (progress: LoadProgress) => void = () => undefined,
): void {
  const weightsOf = new Map<string, PlanWeight[]>();
  for (const weight of plan.weights) weightsOf.set(weight.name, [...(weightsOf.get(weight.name) ?? []), weight]);
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

  const totalBytes = infos.reduce((sum, { info }) => sum + info.bytes, 0);
  let loadedBytes = 0;
  infos.forEach(({ weights, info }, index) => {
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
    loadedBytes += info.bytes;
    onProgress({
      tensorName: info.name,
      loadedTensors: index + 1,
      totalTensors: infos.length,
      loadedBytes,
      totalBytes,
    });
  });
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
