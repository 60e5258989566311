/** Says where two float arrays differ in their bits; undefined when they do not. */
export function differentBits(what: string, actual: Float32Array, expected: Float32Array): string | undefined {
  if (actual.length !== expected.length)
    return `${what}: ${actual.length} values where ${expected.length} are expected`;
  const at = expected.findIndex((value, i) => !Object.is(value, actual[i]!));
  if (at === -1) return undefined;
  return `${what}: value ${at} is ${actual[at]}, not ${expected[at]}; the bits must be equal`;
}
