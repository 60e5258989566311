/** out = x + y */
export function add(x: Float32Array, y: Float32Array, out: Float32Array): void {
  for (let i = 0; i < x.length; i++) out[i] = x[i]! + y[i]!;
}
