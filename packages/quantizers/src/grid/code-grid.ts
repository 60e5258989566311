import { KvantError } from "@kvant/core";
import {
  affineScale,
  blockScaleValue,
  encodeWithScales,
  type Format,
  formats,
  mxScale,
  nvfp4Scale,
  nvfp4TensorScale,
  type QuantizedTensor,
  roundHalfEven,
  symmetricScale,
  type WeightFormat,
  weightFormatName,
} from "@kvant/formats";

/** The scale of one group and the code of zero under it, which is 0 in symmetric formats. */
export interface GroupScale {
  readonly scale: number;
  readonly zeroPoint: number;
}

/**
 * The numbers that a weight format can hold under a scale, for methods that round one value at a time. Bit for bit the
 * arithmetic of `quantizeAbsMax` and `dequantize`.
 */
export interface CodeGrid {
  readonly weightFormat: WeightFormat;
  /** NVFP4 only. */
  readonly tensorScale: number | undefined;
  /** What a float32 comes back as: `scale * (code - zeroPoint)` of its code, as float32. NaN is not accepted. */
  round(value: number, scale: number, zeroPoint: number): number;
  /** The scale that maps the range [smallest, largest], where smallest <= 0 <= largest, onto the codes. */
  scaleOf(smallest: number, largest: number): GroupScale;
}

/**
 * The grid of a weight format.
 * @param largest magnitude of the whole matrix, from which NVFP4 takes its tensor scale; other formats do not read it
 * @throws KvantError INVALID_ARGUMENT if the format has no scales
 */
export function codeGrid(weightFormat: WeightFormat, largest: number): CodeGrid {
  if (weightFormat.granularity === undefined) {
    throw new KvantError("INVALID_ARGUMENT", `${weightFormatName(weightFormat)} has no scales`);
  }
  const format = formats[weightFormat.format];
  const { affine, scaleFormat } = weightFormat;
  const tensorScale = scaleFormat === "e4m3" ? nvfp4TensorScale(largest) : undefined;
  const common = { weightFormat, tensorScale };
  if (affine) {
    return { ...common, round: affineRounding(format.max), scaleOf: (low, high) => affineScale(format, low, high) };
  }
  const round = format.kind === "integer" ? integerRounding(format.max) : floatRounding(format);
  const scale = symmetricScaling(format, scaleFormat, tensorScale ?? 1);
  return { ...common, round, scaleOf: (low, high) => ({ scale: scale(Math.max(-low, high)), zeroPoint: 0 }) };
}

/** The matrix [rows, cols] as codes. Values that `round` returned keep their value exactly. */
export function encodeOnGrid(
  { weightFormat, tensorScale }: CodeGrid,
  values: Float32Array, // [rows, cols]
  rows: number,
  cols: number,
  scales: Float32Array, // [scaleCount]
  zeroPoints: Int8Array, // [scaleCount], not read in symmetric formats
): QuantizedTensor {
  const zeros = weightFormat.affine ? zeroPoints : undefined;
  const tensor = encodeWithScales(values, rows, cols, weightFormat, scales, zeros);
  return tensorScale === undefined ? tensor : { ...tensor, tensorScale };
}

/** `fround(scale * clamp(round(x / scale), -max, max))` */
function integerRounding(max: number): CodeGrid["round"] {
  return (value, scale) => {
    if (scale === 0) return 0;
    const quotient = Math.fround(value / scale);
    return Math.fround(roundHalfEven(Math.max(-max, Math.min(max, quotient))) * scale);
  };
}

/** `fround(scale * decode(encode(x / scale)))` */
function floatRounding(format: Format): CodeGrid["round"] {
  return (value, scale) => (scale === 0 ? 0 : Math.fround(format.decode(format.encode(value / scale)) * scale));
}

/** `fround(scale * (clamp(round(x / scale) + zeroPoint, -max - 1, max) - zeroPoint))` */
function affineRounding(max: number): CodeGrid["round"] {
  const low = -max - 1;
  return (value, scale, zeroPoint) => {
    if (scale === 0) return 0;
    const quotient = Math.max(2 * low, Math.min(2 * max + 1, Math.fround(value / scale)));
    const code = Math.max(low, Math.min(max, roundHalfEven(quotient) + zeroPoint));
    return Math.fround((code - zeroPoint) * scale);
  };
}

function symmetricScaling(format: Format, scaleFormat: WeightFormat["scaleFormat"], tensorScale: number) {
  switch (scaleFormat) {
    case undefined:
      return (magnitude: number) => symmetricScale(format, magnitude);
    case "e8m0":
      return (magnitude: number) => blockScaleValue("e8m0", mxScale(format, magnitude), 1);
    case "e4m3":
      return (magnitude: number) => blockScaleValue("e4m3", nvfp4Scale(magnitude, tensorScale), tensorScale);
    default:
      return scaleFormat satisfies never;
  }
}
