import type { RopeTable } from "../plan.ts";

/**
 * Rotates the pairs (i, i + headDim / 2) of every head by position * inverseFrequencies[i] (RoPE, arXiv:2104.09864, in the
 * half-rotation form).
 */
export function rope(
  x: Float32Array, // [T, heads * headDim]
  positions: Int32Array, // [T]
  table: RopeTable,
  out: Float32Array, // as x
): void {
  const { inverseFrequencies, magnitude } = table;
  const half = inverseFrequencies.length;
  const width = x.length / positions.length;
  positions.forEach((position, token) => {
    for (let i = 0; i < half; i++) {
      const angle = position * inverseFrequencies[i]!;
      const cos = Math.cos(angle) * magnitude;
      const sin = Math.sin(angle) * magnitude;
      for (let first = token * width + i; first < (token + 1) * width; first += 2 * half) {
        const [a, b] = [x[first]!, x[first + half]!];
        out[first] = a * cos - b * sin;
        out[first + half] = b * cos + a * sin;
      }
    }
  });
}
