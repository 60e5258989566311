import { KvantError } from "@kvant/core";

/**
 * Replaces the figure of every channel by that of all channels with the same source, their mean or their maximum. Where
 * several input channels come from one output channel, as query heads share a KV head, their scale is folded into that one
 * channel and has to be the same.
 * @throws KvantError INVALID_ARGUMENT if the lengths differ or a source is negative
 */
export function shareChannels(
  figures: Float32Array, // [cols]
  source: Int32Array, // [cols]
  pooling: "mean" | "max",
): Float32Array {
  if (source.length !== figures.length) {
    throw new KvantError("INVALID_ARGUMENT", `${source.length} sources do not match ${figures.length} channels`);
  }
  const sourceCount = source.reduce((most, each) => Math.max(most, each + 1), 0);
  const pooled = new Float64Array(sourceCount);
  const counts = new Float64Array(sourceCount);
  for (let col = 0; col < source.length; col++) {
    const from = source[col]!;
    if (from < 0) throw new KvantError("INVALID_ARGUMENT", `channel ${col} has source ${from}`);
    counts[from]!++;
    pooled[from] = pooling === "max" ? Math.max(pooled[from]!, figures[col]!) : pooled[from]! + figures[col]!;
  }
  return figures.map((_, col) =>
    pooling === "max" ? pooled[source[col]!]! : pooled[source[col]!]! / counts[source[col]!]!,
  );
}
