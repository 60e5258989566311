import { decodeArray, dequantize, encodeArray, formats, parseWeightFormat, quantizeSymmetric } from "@kvant/formats";
import type { ActivationScheme } from "../plan.ts";

/** The operand x of a linear op as its activation format holds it: values, and for int8 also codes with a scale per token. */
export type PreparedActivations =
  | { readonly kind: "values"; readonly values: Float32Array }
  | {
      readonly kind: "codes";
      readonly values: Float32Array; // [T, K] codes * scale
      readonly codes: Int8Array; // [T, K]
      readonly scales: Float32Array; // [T]
    };

/**
 * Rounds or quantizes x `[tokens, cols]`. Per-token scales are AbsMax: scale = absmax / max, code = round(x / scale), and a
 * token of zeros has scale 0. Static scales clamp what lies beyond them.
 */
export function prepareActivations(
  x: Float32Array, // [T, K]
  tokens: number,
  cols: number,
  scheme: ActivationScheme,
): PreparedActivations {
  switch (scheme.format) {
    case "fp32":
      return { kind: "values", values: x };
    case "bf16":
    case "fp16":
      return { kind: "values", values: decodeArray(scheme.format, encodeArray(scheme.format, x)) };
    case "e4m3":
      return { kind: "values", values: quantized(x, tokens, cols, scheme).values };
    case "int8":
      return quantized(x, tokens, cols, scheme);
    default:
      return scheme satisfies never;
  }
}

function quantized(
  x: Float32Array,
  tokens: number,
  cols: number,
  scheme: Extract<ActivationScheme, { format: "int8" | "e4m3" }>,
): Extract<PreparedActivations, { kind: "codes" }> {
  const { format, scale } = scheme;
  if (scale === "token") {
    const tensor = quantizeSymmetric(x, tokens, cols, parseWeightFormat(`${format}-channel`));
    return {
      kind: "codes",
      values: dequantize(tensor),
      codes: new Int8Array(tensor.codes.buffer, tensor.codes.byteOffset, tensor.codes.length),
      scales: tensor.scales,
    };
  }
  const { max } = formats[format];
  const factor = Math.fround(scale);
  const codes = new Uint8Array(x.length);
  encodeArray(
    format,
    x.map((value) => Math.max(-max, Math.min(max, Math.fround(value / factor)))),
    codes,
  );
  const values = decodeArray(format, codes).map((value) => value * factor);
  return { kind: "codes", values, codes: new Int8Array(codes.buffer), scales: new Float32Array(tokens).fill(factor) };
}
