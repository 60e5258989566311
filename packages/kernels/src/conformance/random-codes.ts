import { decodeE8m0, formats, type QuantizedTensor, scaleCount, type WeightFormat, weightBytes } from "@kvant/formats";
import type { Random } from "./random.ts";

/**
 * A tensor that no AbsMax would make: every finite code is as likely as any other, the lowest of an integer format included,
 * whatever its neighbours are, and zero points lie anywhere. Scales are about 0.01, and every seventh is 0 where the form in
 * which scales are held has a zero.
 */
export function randomCodes(weightFormat: WeightFormat, rows: number, cols: number, random: Random): QuantizedTensor {
  const { format, granularity, affine, scaleFormat } = weightFormat;
  const { bits, max: high, decode } = formats[format];
  const codes = Uint8Array.from({ length: weightBytes(weightFormat, rows, cols).codes }, () => {
    const byte = random.integer(0, 255);
    // Codes of 3 and 2 bits lie in two's complement nibbles.
    return bits < 4 ? (decode(byte) & 15) | ((decode(byte >> 4) & 15) << 4) : byte;
  });
  if (format === "e4m3" || format === "e5m2") {
    // An exponent bit less than that of infinities and NaN.
    for (let i = 0; i < codes.length; i++) {
      if (!Number.isFinite(decode(codes[i]!))) codes[i] = codes[i]! & 0xbf;
    }
  }
  const count = scaleCount(granularity!, [rows, cols]);
  const tensorScale = scaleFormat === "e4m3" ? Math.fround(1e-4 * (1 + random.next())) : undefined;
  const scales = Float32Array.from({ length: count }, (_, index) => {
    if (scaleFormat === "e8m0") return decodeE8m0(random.integer(118, 122));
    if (index % 7 === 6) return 0;
    if (tensorScale !== undefined) return formats.e4m3.decode(random.integer(1, 0x7e)) * tensorScale;
    return 0.01 * (0.5 + random.next());
  });
  const zeroPoints = affine ? Int8Array.from({ length: count }, () => random.integer(-high - 1, high)) : undefined;
  const tensor = { weightFormat, rows, cols, codes, scales, zeroPoints };
  return tensorScale === undefined ? tensor : { ...tensor, tensorScale };
}

/** All codes of an integer format the lowest there is, and all zero points the highest: the largest sums of products. */
export function lowestCodes(weightFormat: WeightFormat, rows: number, cols: number): QuantizedTensor {
  const { format, granularity, affine } = weightFormat;
  const count = scaleCount(granularity!, [rows, cols]);
  const { bits, max: high } = formats[format];
  const lowest = -high - 1;
  return {
    weightFormat,
    rows,
    cols,
    codes: new Uint8Array(weightBytes(weightFormat, rows, cols).codes).fill(bits === 8 ? lowest : (lowest & 15) * 0x11),
    scales: new Float32Array(count).fill(0.01),
    zeroPoints: affine ? new Int8Array(count).fill(high) : undefined,
  };
}
