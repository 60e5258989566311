import { uniforms } from "../src/uniforms.ts";

/** Roughly normal numbers of variance 1: sums of twelve uniform ones. */
export function normals(seed: number, count: number): Float32Array {
  const uniform = uniforms(seed);
  return Float32Array.from({ length: count }, () => {
    let sum = -6;
    for (let i = 0; i < 12; i++) sum += uniform();
    return sum;
  });
}

/** Activations [tokens, width] whose channels share `factors` hidden causes, as those of a model do. */
export function correlated(seed: number, tokens: number, width: number, factors: number): Float32Array {
  const causes = normals(seed, tokens * factors);
  const loadings = normals(seed + 1, factors * width);
  const noise = normals(seed + 2, tokens * width);
  return noise.map((each, i) => {
    const [token, channel] = [Math.floor(i / width), i % width];
    let sum = 0.3 * each;
    for (let f = 0; f < factors; f++) sum += causes[token * factors + f]! * loadings[f * width + channel]!;
    return sum;
  });
}

/** `left . right` of row-major [rows, depth] and [depth, cols], in float64 and the plainest order. */
export function plainProduct(
  left: ArrayLike<number>,
  right: ArrayLike<number>,
  rows: number,
  depth: number,
  cols: number,
) {
  const product = new Float64Array(rows * cols);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) {
      let sum = 0;
      for (let k = 0; k < depth; k++) sum += left[i * depth + k]! * right[k * cols + j]!;
      product[i * cols + j] = sum;
    }
  }
  return product;
}

/** Rows as columns. */
export function plainTranspose(matrix: ArrayLike<number>, rows: number, cols: number): Float64Array {
  return Float64Array.from({ length: rows * cols }, (_, i) => matrix[(i % rows) * cols + Math.floor(i / rows)]!);
}

/** `x^T x` of [tokens, width]. */
export function plainGram(x: ArrayLike<number>, tokens: number, width: number): Float64Array {
  return plainProduct(plainTranspose(x, tokens, width), x, width, tokens, width);
}
