/** out[i] = x[tokens[i]] */
export function gatherRows(
  x: Float32Array, // [T, width]
  tokens: Int32Array, // [L]
  width: number,
  out: Float32Array, // [L, width]
): void {
  tokens.forEach((token, row) => {
    out.set(x.subarray(token * width, (token + 1) * width), row * width);
  });
}
