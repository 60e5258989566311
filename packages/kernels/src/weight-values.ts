import { KvantError } from "@kvant/core";
import { type CodeArray, decodeArray, weightFormatName } from "@kvant/formats";
import type { WeightSource } from "./backend.ts";
import type { PlanWeight } from "./plan.ts";

const dtypeBytes = { fp32: 4, bf16: 2, fp16: 2 } as const;

/** Whether the rows of a weight can be quantized one by one: no scale is for the whole tensor or for rows together. */
export function loadsByRows({ format: { granularity, scaleFormat } }: PlanWeight): boolean {
  if (scaleFormat === "e4m3" || granularity?.kind === "tile") return false;
  return granularity?.kind !== "tensor" && !(granularity?.kind === "channel" && granularity.axis === 1);
}

/** @throws KvantError INVALID_ARGUMENT when the weight only loads whole */
export function requireLoadsByRows(weight: PlanWeight): void {
  if (loadsByRows(weight)) return;
  throw new KvantError(
    "INVALID_ARGUMENT",
    `"${weight.name}" in ${weightFormatName(weight.format)} has a scale for the whole tensor, so its rows do not load one by one`,
  );
}

/**
 * The number of rows that the source holds.
 * @throws KvantError TENSOR_SHAPE when those are not whole, or no rows of the weight
 */
export function sourceRows({ name, rows, cols }: PlanWeight, firstRow: number, source: WeightSource): number {
  const rowBytes = cols * dtypeBytes[source.dtype];
  const count = source.data.byteLength / rowBytes;
  const isRange = Number.isInteger(firstRow) && firstRow >= 0 && Number.isInteger(count) && count > 0;
  if (isRange && firstRow + count <= rows) return count;
  throw new KvantError(
    "TENSOR_SHAPE",
    `${source.data.byteLength} bytes of ${source.dtype} from row ${firstRow} on do not fill rows of "${name}" [${rows}, ${cols}]`,
    { field: name },
  );
}

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
