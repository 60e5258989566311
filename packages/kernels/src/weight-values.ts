import { KvantError } from "@kvant/core";
import { type CodeArray, decodeArray } from "@kvant/formats";
import type { WeightSource } from "./backend.ts";
import type { PlanWeight } from "./plan.ts";

const dtypeBytes = { fp32: 4, bf16: 2, fp16: 2 } as const;

/** @throws KvantError TENSOR_SHAPE when the source does not hold exactly the weight's `rows * cols` values */
export function checkWeightBytes(weight: PlanWeight, source: WeightSource): void {
  const { name, rows, cols } = weight;
  const bytes = rows * cols * dtypeBytes[source.dtype];
  if (source.data.byteLength === bytes) return;
  throw new KvantError(
    "TENSOR_SHAPE",
    `"${name}" [${rows}, ${cols}] in ${source.dtype} has ${bytes} bytes; ${source.data.byteLength} are given`,
    { field: name },
  );
}

/**
 * The values `[rows, cols]` of a stored weight as float32.
 * @throws KvantError TENSOR_SHAPE
 */
export function weightValues(weight: PlanWeight, source: WeightSource): Float32Array {
  checkWeightBytes(weight, source);
  const bytes = source.data.slice().buffer; // a copy, so that the view is aligned
  if (source.dtype === "fp32") return new Float32Array(bytes);
  const codes: CodeArray = new Uint16Array(bytes);
  return decodeArray(source.dtype, codes);
}
