/** The first values of a sequence, all of it where it is shorter. */
export function take<T>(values: Iterable<T>, count: number): T[] {
  const taken: T[] = [];
  if (count === 0) return taken;
  for (const value of values) if (taken.push(value) === count) break;
  return taken;
}
