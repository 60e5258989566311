/** out[t] = table[ids[t]] */
export function embed(
  ids: Int32Array, // [T]
  table: Float32Array, // [vocabulary, width]
  width: number,
  out: Float32Array, // [T, width]
): void {
  ids.forEach((id, token) => {
    out.set(table.subarray(id * width, (id + 1) * width), token * width);
  });
}
