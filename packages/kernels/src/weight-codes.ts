import { KvantError } from "@kvant/core";
import {
  decodeE8m0,
  encodeE8m0,
  formats,
  type QuantizedTensor,
  scaleCount,
  weightBytes,
  weightFormatName,
} from "@kvant/formats";
import type { PlanWeight } from "./plan.ts";
import { requireLoadsByRows } from "./weight-values.ts";

/** Codes and scales of a tensor in the form in which backends hold them; arrays are empty where the format has none. */
export interface HeldCodes {
  /** As in the tensor. */
  readonly codes: Uint8Array;
  /** `[scaleCount]` of formats with float32 scales. */
  readonly scales: Float32Array;
  /** `[scaleCount]` E8M0 codes (MXFP4, MXFP8) or E4M3 codes (NVFP4). */
  readonly scaleCodes: Uint8Array;
  /** `[scaleCount]` of affine formats. */
  readonly zeros: Int8Array;
  /** NVFP4: the factor of all scales; else 0. */
  readonly tensorScale: number;
}

/**
 * Checks a tensor for rows `firstRow ..` of a weight and finds the held form of its scales, which stands for the same
 * float32 numbers exactly.
 * @throws KvantError INVALID_ARGUMENT when the tensor is of another format than the weight, when it holds rows of a weight that
 *   only loads whole, or numbers that the format does not hold; TENSOR_SHAPE when an array has another length than the shape asks
 */
export function heldCodes(weight: PlanWeight, firstRow: number, tensor: QuantizedTensor): HeldCodes {
  checkFormat(weight, tensor);
  checkShape(weight, firstRow, tensor);
  checkNumbers(weight, tensor);
  const { codes, scales, zeroPoints } = tensor;
  const held = { codes, scales, scaleCodes: new Uint8Array(), zeros: zeroPoints ?? new Int8Array(), tensorScale: 0 };
  switch (weight.format.scaleFormat) {
    case undefined:
      return held;
    case "e8m0":
      return { ...held, scales: new Float32Array(), scaleCodes: e8m0Codes(weight, scales) };
    case "e4m3": {
      const tensorScale = requireTensorScale(weight, tensor);
      return { ...held, scales: new Float32Array(), scaleCodes: e4m3Codes(weight, scales, tensorScale), tensorScale };
    }
    default:
      return weight.format.scaleFormat satisfies never;
  }
}

function checkFormat({ name, format }: PlanWeight, { weightFormat }: QuantizedTensor): void {
  const [wanted, given] = [weightFormatName(format), weightFormatName(weightFormat)];
  if (wanted !== given) throw invalid(name, `is ${wanted} in the plan, and the codes are ${given}`);
  if (format.granularity === undefined) throw invalid(name, `is ${wanted}, which has no scales: load its values`);
}

function checkShape(weight: PlanWeight, firstRow: number, tensor: QuantizedTensor): void {
  const { name, rows: most, cols, format } = weight;
  const { rows } = tensor;
  const isRange = Number.isInteger(firstRow) && firstRow >= 0 && Number.isInteger(rows) && rows > 0;
  if (!isRange || firstRow + rows > most || tensor.cols !== cols) {
    throw misshapen(name, `[${rows}, ${tensor.cols}] from row ${firstRow} on are no rows of [${most}, ${cols}]`);
  }
  if (rows !== most) requireLoadsByRows(weight);
  const count = scaleCount(format.granularity!, [rows, cols]);
  const lengths = [
    ["bytes of codes", tensor.codes.length, weightBytes(format, rows, cols).codes],
    ["scales", tensor.scales.length, count],
    ["zero points", tensor.zeroPoints?.length ?? 0, format.affine ? count : 0],
  ] as const;
  for (const [what, length, wanted] of lengths) {
    if (length !== wanted) throw misshapen(name, `${length} ${what} where [${rows}, ${cols}] has ${wanted}`);
  }
}

function checkNumbers({ name, format }: PlanWeight, { codes, scales, zeroPoints }: QuantizedTensor): void {
  const wild = scales.findIndex((scale) => !Number.isFinite(scale));
  if (wild !== -1) throw invalid(name, `has a scale of ${scales[wild]} at ${wild}`);
  const high = formats[format.format].max;
  const beyond = zeroPoints?.findIndex((zero) => zero > high || zero < -high - 1) ?? -1;
  if (beyond !== -1) {
    throw invalid(
      name,
      `has a zero point of ${zeroPoints![beyond]} at ${beyond}; codes end at ${-high - 1} and ${high}`,
    );
  }
  const { bits, decode } = formats[format.format];
  const wide = bits < 4 ? findOtherByte(codes, (nibble) => formats.int4.decode(nibble) === decode(nibble)) : -1;
  if (wide !== -1)
    throw invalid(name, `has nibbles of ${codes[wide]} in byte ${wide} of its codes, more than ${bits} bits`);
  // Kernels that widen E5M2 with shifts take an infinity for the number behind the largest one. NaN they all keep.
  const infinite = format.format === "e5m2" ? codes.findIndex((code) => (code & 0x7f) === 0x7c) : -1;
  if (infinite !== -1) throw invalid(name, `has an infinity for code ${infinite}`);
}

/** The first byte with a nibble that is no code; -1 where there is none. */
function findOtherByte(codes: Uint8Array, isCode: (nibble: number) => boolean): number {
  const isGood = Uint8Array.from({ length: 256 }, (_, byte) => (isCode(byte & 15) && isCode(byte >> 4) ? 1 : 0));
  return codes.findIndex((byte) => isGood[byte] === 0);
}

function e8m0Codes({ name, format }: PlanWeight, scales: Float32Array): Uint8Array {
  return Uint8Array.from(scales, (scale, index) => {
    const code = encodeE8m0(scale);
    if (decodeE8m0(code) === scale) return code;
    throw invalid(
      name,
      `has a scale of ${scale} at ${index}; ${weightFormatName(format)} holds powers of two from 2^-127 to 2^127`,
    );
  });
}

function requireTensorScale({ name }: PlanWeight, { tensorScale }: QuantizedTensor): number {
  if (tensorScale === undefined)
    throw invalid(name, "comes without a tensor scale, which nvfp4 needs beside its scales");
  if (tensorScale >= 0 && Math.fround(tensorScale) === tensorScale && tensorScale !== Infinity) return tensorScale;
  throw invalid(name, `has a tensor scale of ${tensorScale}, which is no float32 from 0 up`);
}

function e4m3Codes({ name }: PlanWeight, scales: Float32Array, tensorScale: number): Uint8Array {
  const { e4m3 } = formats;
  return Uint8Array.from(scales, (scale, index) => {
    const code = scale === 0 ? 0 : e4m3.encode(scale / tensorScale);
    if (scale >= 0 && Math.fround(e4m3.decode(code) * tensorScale) === scale) return code;
    throw invalid(
      name,
      `has a scale of ${scale} at ${index}, which is no E4M3 number times the tensor scale ${tensorScale}`,
    );
  });
}

function invalid(name: string, what: string): KvantError {
  return new KvantError("INVALID_ARGUMENT", `weight "${name}" ${what}`, { field: name });
}

function misshapen(name: string, what: string): KvantError {
  return new KvantError("TENSOR_SHAPE", `codes of "${name}": ${what}`, { field: name });
}
