import { KvantError } from "@kvant/core";
import { encodeArray, formats } from "@kvant/formats";

/**
 * The tensor types that Kvant writes: number in a GGUF file, values and bytes of a block (github.com/ggml-org/ggml,
 * `docs/gguf.md` and `src/ggml-common.h`).
 */
export const ggmlTypes = {
  F32: { id: 0, blockValues: 1, blockBytes: 4, encode: encodeFloats },
  F16: { id: 1, blockValues: 1, blockBytes: 2, encode: encodeHalves },
  Q4_0: { id: 2, blockValues: 32, blockBytes: 18, encode: encodeQ4 },
  Q8_0: { id: 8, blockValues: 32, blockBytes: 34, encode: encodeQ8 },
} as const;
export type GgmlType = keyof typeof ggmlTypes;

/**
 * Values as blocks of a type, in order. Q8_0 and Q4_0 round as llama.cpp's own quantizer does.
 * @throws KvantError INVALID_ARGUMENT when the values do not fill whole blocks
 */
export function encodeGgml(type: GgmlType, values: Float32Array): Uint8Array {
  const { blockValues, encode } = ggmlTypes[type];
  if (values.length % blockValues !== 0) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `${values.length} values do not fill ${type} blocks, which hold ${blockValues}`,
    );
  }
  return encode(values);
}

/** Bytes of `count` values; `count` is a multiple of the block. */
export function ggmlBytes(type: GgmlType, count: number): number {
  const { blockValues, blockBytes } = ggmlTypes[type];
  return (count / blockValues) * blockBytes;
}

function encodeFloats(values: Float32Array): Uint8Array {
  return new Uint8Array(values.slice().buffer);
}

function encodeHalves(values: Float32Array): Uint8Array {
  const codes = encodeArray("fp16", values);
  return new Uint8Array(codes.buffer, codes.byteOffset, codes.byteLength);
}

// Block: fp16 d, then 32 signed bytes; x = d * q, d = max|x| / 127.
function encodeQ8(values: Float32Array): Uint8Array {
  const out = new Uint8Array(ggmlBytes("Q8_0", values.length));
  const bytes = new DataView(out.buffer);
  for (let start = 0, at = 0; start < values.length; start += 32, at += 34) {
    let largest = 0;
    for (let i = 0; i < 32; i++) largest = Math.max(largest, Math.abs(values[start + i]!));
    const scale = Math.fround(largest / 127);
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    bytes.setUint16(at, formats.fp16.encode(scale), true);
    for (let i = 0; i < 32; i++) {
      const scaled = Math.fround(values[start + i]! * inverse);
      // Halves go away from zero, as C's roundf.
      bytes.setInt8(at + 2 + i, Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5));
    }
  }
  return out;
}

// Block: fp16 d, then 16 bytes; byte i holds values i (low nibble) and i + 16. x = d * (q - 8), where d maps the value of
// largest magnitude, with its sign, to q = 0.
function encodeQ4(values: Float32Array): Uint8Array {
  const out = new Uint8Array(ggmlBytes("Q4_0", values.length));
  const bytes = new DataView(out.buffer);
  for (let start = 0, at = 0; start < values.length; start += 32, at += 18) {
    let largest = 0;
    for (let i = 0; i < 32; i++) {
      const value = values[start + i]!;
      if (Math.abs(value) > Math.abs(largest)) largest = value;
    }
    const scale = Math.fround(largest / -8);
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    bytes.setUint16(at, formats.fp16.encode(scale), true);
    const code = (index: number) =>
      Math.min(15, Math.trunc(Math.fround(Math.fround(values[start + index]! * inverse) + 8.5)));
    for (let i = 0; i < 16; i++) out[at + 2 + i] = code(i) | (code(i + 16) << 4);
  }
  return out;
}
