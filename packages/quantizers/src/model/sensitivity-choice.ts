/** One way to store a module. */
export interface StorageOption {
  /** Of the whole module. */
  readonly bits: number;
  /** What it costs; losses of modules add up. */
  readonly loss: number;
}

/**
 * Chooses an option for each module so that the sum of losses is small and the sum of bits within the budget. All begin with
 * their smallest option; then, again and again, the step that takes away the most loss per bit it adds is made, among those
 * that still fit. Steps lie on the lower convex hull of a module's options, where they lose worth one after another: the greedy
 * rule of Shoham & Gersho 1988 ("Efficient bit allocation for an arbitrary set of quantizers"), optimal at every total that it
 * passes, and off by less than one step elsewhere. Of equal steps the first module's is made.
 * @returns the index of each module's option; undefined if the smallest options together exceed the budget
 */
export function chooseOptions(
  modules: readonly (readonly StorageOption[])[],
  budget: number,
): readonly number[] | undefined {
  const hulls = modules.map(lowerHull);
  const places = hulls.map(() => 0);
  let spent = hulls.reduce((sum, [first]) => sum + first!.bits, 0);
  if (!(spent <= budget)) return undefined;
  for (;;) {
    let best: { readonly module: number; readonly bits: number; readonly worth: number } | undefined;
    for (const [module, hull] of hulls.entries()) {
      const [current, next] = [hull[places[module]!]!, hull[places[module]! + 1]];
      if (next === undefined) continue;
      const bits = next.bits - current.bits;
      const worth = (current.loss - next.loss) / bits;
      if (spent + bits <= budget && (best === undefined || worth > best.worth)) best = { module, bits, worth };
    }
    if (best === undefined) break;
    places[best.module]!++;
    spent += best.bits;
  }
  return hulls.map((hull, module) => hull[places[module]!]!.index);
}

/** The options that no mixture of two others beats, by growing bits, falling loss and falling worth of a bit. */
function lowerHull(options: readonly StorageOption[]) {
  const sorted = options
    .map(({ bits, loss }, index) => ({ bits, loss, index }))
    .sort((a, b) => a.bits - b.bits || a.loss - b.loss || a.index - b.index);
  const hull: typeof sorted = [];
  for (const option of sorted) {
    const last = hull.at(-1);
    if (last !== undefined && option.loss >= last.loss) continue;
    while (hull.length >= 2 && worth(hull.at(-2)!, hull.at(-1)!) <= worth(hull.at(-1)!, option)) hull.pop();
    hull.push(option);
  }
  return hull;
}

/** Loss taken away per bit added. */
function worth(from: StorageOption, to: StorageOption): number {
  return (from.loss - to.loss) / (to.bits - from.bits);
}
