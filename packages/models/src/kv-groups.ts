import type { ModelConfig } from "@kvant/checkpoint";

/** Where a decoder layer keeps its K and V: a layer of a KV group. */
export interface KvLayer {
  readonly group: number;
  readonly layer: number;
}

export interface LayerGroup {
  readonly window: number | undefined;
  /** Decoder layers of the group, in order. */
  readonly layers: readonly number[];
}

/**
 * Groups the decoder layers that can share a page table: those with the same window (KV heads and head dim are the same in
 * all layers of these architectures). Groups are in the order of their first layer.
 */
export function groupLayers({ windows, layerCount }: Pick<ModelConfig, "windows" | "layerCount">): {
  readonly groups: readonly LayerGroup[];
  readonly kvLayers: readonly KvLayer[]; // [layerCount]
} {
  const groups: { window: number | undefined; layers: number[] }[] = [];
  const kvLayers: KvLayer[] = [];
  for (let layer = 0; layer < layerCount; layer++) {
    const window = windows[layer];
    let group = groups.findIndex((each) => each.window === window);
    if (group === -1) group = groups.push({ window, layers: [] }) - 1;
    kvLayers.push({ group, layer: groups[group]!.layers.push(layer) - 1 });
  }
  return { groups, kvLayers };
}
