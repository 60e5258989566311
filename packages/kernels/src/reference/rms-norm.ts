/** out = x / sqrt(mean(x^2) + epsilon) * weight over each run of `weight.length` values (arXiv:1910.07467). */
export function rmsNorm(
  x: Float32Array, // [runs, weight.length]
  weight: Float32Array,
  epsilon: number,
  out: Float32Array, // as x
): void {
  const width = weight.length;
  for (let start = 0; start < x.length; start += width) {
    let squares = 0;
    for (let i = 0; i < width; i++) squares += x[start + i]! ** 2;
    const factor = 1 / Math.sqrt(squares / width + epsilon);
    for (let i = 0; i < width; i++) out[start + i] = x[start + i]! * factor * weight[i]!;
  }
}
