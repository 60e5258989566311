import { KvantError } from "@kvant/core";
import {
  decodeArray,
  dequantize,
  encodeArray,
  formats,
  groupsPerRow,
  loadCodeRow,
  type QuantizedTensor,
  quantizeAbsMax,
  spreadOverRow,
  weightFormatName,
} from "@kvant/formats";
import type { WeightSource } from "../backend.ts";
import type { PlanWeight } from "../plan.ts";
import { weightValues } from "../weight-values.ts";

/** A weight matrix [rows, cols]. Integer formats keep their codes beside the values, for products with integer activations. */
export type ReferenceMatrix = {
  readonly rows: number;
  readonly cols: number;
  readonly values: Float32Array; // [rows, cols] dequantized
} & (
  | { readonly kind: "values" }
  | {
      readonly kind: "codes";
      readonly codes: Int16Array; // [rows, cols], less their zero points
      readonly scales: Float32Array; // [rows, groups per row]
      readonly groupSize: number;
    }
);

/**
 * Rounds or quantizes a weight to the plan's format.
 * @throws KvantError TENSOR_SHAPE when the source has another number of bytes
 */
export function referenceWeight(weight: PlanWeight, source: WeightSource): ReferenceMatrix {
  const { rows, cols, format } = weight;
  const stored = weightValues(weight, source);
  if (format.granularity === undefined) {
    const values = format.format === "fp32" ? stored : decodeArray(format.format, encodeArray(format.format, stored));
    return { kind: "values", rows, cols, values };
  }
  return referenceMatrix(weight, quantizeAbsMax(stored, rows, cols, format));
}

/** A quantized tensor of the weight's format, as many rows as it holds. */
export function referenceMatrix({ activation }: PlanWeight, tensor: QuantizedTensor): ReferenceMatrix {
  const { rows, cols, weightFormat } = tensor;
  const { format, granularity } = weightFormat;
  const values = dequantize(tensor);
  if (formats[format].kind !== "integer" || activation?.format !== "int8")
    return { kind: "values", rows, cols, values };
  const groupSize = granularity?.kind === "group" ? granularity.size : cols;
  return {
    kind: "codes",
    rows,
    cols,
    values,
    codes: integerCodes(tensor),
    scales: rowScales(tensor, groupSize),
    groupSize,
  };
}

/** @throws KvantError OP_UNSUPPORTED for weight formats that no backend multiplies with */
export function requireSupported(weight: PlanWeight): void {
  const { granularity, affine } = weight.format;
  const isPerColumn = granularity?.kind === "channel" && granularity.axis === 1;
  const isTiled = granularity?.kind === "tile";
  if (!isPerColumn && !isTiled && !(affine && granularity?.kind === "tensor")) return;
  throw new KvantError(
    "OP_UNSUPPORTED",
    `linear "${weight.name}": there is no kernel for ${weightFormatName(weight.format)} weights`,
  );
}

function integerCodes({ rows, cols, codes, weightFormat, zeroPoints }: QuantizedTensor): Int16Array {
  const format = formats[weightFormat.format];
  const integers = new Int16Array(rows * cols);
  const rowCodes = new Uint8Array(cols);
  const rowValues = new Float32Array(cols);
  const rowZeros = new Float32Array(cols);
  for (let row = 0; row < rows; row++) {
    loadCodeRow(format, codes, row, rowCodes);
    format.decodeInto(rowCodes, rowValues);
    if (zeroPoints !== undefined) spreadOverRow(weightFormat.granularity!, zeroPoints, row, rowZeros);
    for (let col = 0; col < cols; col++) integers[row * cols + col] = rowValues[col]! - rowZeros[col]!;
  }
  return integers;
}

function rowScales({ rows, cols, scales, weightFormat }: QuantizedTensor, groupSize: number): Float32Array {
  const groups = groupsPerRow(groupSize, cols);
  const perRow = new Float32Array(rows * groups);
  const spread = new Float32Array(cols);
  for (let row = 0; row < rows; row++) {
    spreadOverRow(weightFormat.granularity!, scales, row, spread);
    for (let group = 0; group < groups; group++) perRow[row * groups + group] = spread[group * groupSize]!;
  }
  return perRow;
}
