/**
 * Philox4x32-10, a counter-based random generator: the four words are a function of key and counter alone, so that a draw
 * depends on a request's seed and the index of the token and on nothing else (Salmon et al., "Parallel random numbers: as
 * easy as 1, 2, 3", SC 2011).
 */
export function philox4x32(
  key: readonly [number, number],
  counter: readonly [number, number, number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = multiply(0xd2511f53, c0);
    const [high1, low1] = multiply(0xcd9e8d57, c2);
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** A uniform number in (0, 1) for the token of index `index`: the middle of one of 2^32 equal steps. */
export function uniform(seed: readonly [number, number], index: number): number {
  return (philox4x32(seed, [index >>> 0, 0, 0, 0])[0] + 0.5) / 2 ** 32;
}

/** The 64-bit product of two unsigned 32-bit words, as high and low word. */
function multiply(a: number, b: number): readonly [high: number, low: number] {
  const product = BigInt(a) * BigInt(b);
  return [Number(product >> 32n), Number(product & 0xffffffffn)];
}
