import { type EngineOptions, groupPageBytes, type ModelInfo, planModel } from "@kvant/engine";

/** What a scheme takes in memory. */
export interface ModelSize {
  /** All weights as they are held: codes, scales and what stayed in 16 or 32 bit. */
  readonly weightBytes: number;
  /** Codes and scales of the decoder's linear layers over their weights: what `--weights` decides. */
  readonly bitsPerWeight: number;
  /** K and V of all layers, codes and scales. */
  readonly kvBytesPerToken: number;
}

export function modelSize(engine: EngineOptions, info: ModelInfo): ModelSize {
  const linears = info.tensorClasses.filter((row) => row.class === "linear");
  const bytes = linears.reduce((sum, row) => sum + row.bytes, 0);
  const weights = linears.reduce((sum, row) => sum + row.elementCount, 0);
  const { plan, source } = planModel(engine);
  source.checkpoint?.close();
  return {
    weightBytes: Object.values(info.weightBytes).reduce((sum, held) => sum + held, 0),
    bitsPerWeight: (8 * bytes) / weights,
    kvBytesPerToken:
      plan.kvGroups.reduce((sum, group) => sum + groupPageBytes(group, info.pageTokens), 0) / info.pageTokens,
  };
}
