import type { LinearReport } from "@kvant/quantizers";
import type { LineSeries } from "@kvant/report";

/** Where a linear layer stands in its model. */
export interface LayerPlace {
  /** Undefined outside the layers, such as for `lm_head`. */
  readonly layer: number | undefined;
  /** Such as `q_proj`; numbers below the layer, such as those of experts, are a star: `mlp.experts.*.up_proj`. */
  readonly projection: string;
}

export function layerPlace(name: string): LayerPlace {
  const match = /(?:^|\.)layers\.(\d+)\.(.+)$/.exec(name);
  if (match === null) return { layer: undefined, projection: name };
  const path = match[2]!.replace(/(^|\.)\d+(?=\.|$)/g, "$1*");
  return { layer: Number(match[1]), projection: path.includes("*") ? path : path.slice(path.lastIndexOf(".") + 1) };
}

/** Linear layers by projection, in the order of their first appearance; those outside the layers are left out. */
export function byProjection(linears: readonly LinearReport[]): ReadonlyMap<string, readonly LinearReport[]> {
  const groups = new Map<string, LinearReport[]>();
  for (const linear of linears) {
    const { layer, projection } = layerPlace(linear.name);
    if (layer === undefined) continue;
    groups.set(projection, [...(groups.get(projection) ?? []), linear]);
  }
  return groups;
}

/**
 * A quantity over the index of the layer, one series per projection. Where a layer has several of a projection, as of experts,
 * the worst counts: the largest, or with `worst: "low"` the smallest.
 */
export function layerSeries(
  linears: readonly LinearReport[],
  measure: (linear: LinearReport) => number | null,
  worst: "low" | "high" = "high",
): readonly LineSeries[] {
  return [...byProjection(linears)].map(([name, members]) => ({ name, ...overLayers(members, measure, worst) }));
}

/** The columns of one projection's series. */
export function overLayers(
  members: readonly LinearReport[],
  measure: (linear: LinearReport) => number | null,
  worst: "low" | "high" = "high",
): { readonly x: readonly number[]; readonly y: readonly (number | null)[] } {
  const choose = worst === "low" ? Math.min : Math.max;
  const values = new Map<number, number | null>();
  for (const linear of members) {
    const layer = layerPlace(linear.name).layer!;
    const [old = null, value] = [values.get(layer), measure(linear)];
    values.set(layer, old === null || value === null ? (old ?? value) : choose(old, value));
  }
  const x = [...values.keys()].sort((a, b) => a - b);
  return { x, y: x.map((layer) => values.get(layer)!) };
}
