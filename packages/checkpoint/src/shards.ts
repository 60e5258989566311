import { join } from "node:path";
import { KvantError } from "@kvant/core";
import { writeDurably } from "./write-durably.ts";
import { type StreamedTensor, writeSafetensorsStream } from "./write-safetensors.ts";

/** transformers opens files that say so. */
const metadata = { format: "pt" };

/**
 * Tensors in the order given, cut into shards of at most `shardBytes` of data each; a larger tensor has a shard of its own.
 * @throws KvantError INVALID_ARGUMENT for a name that stands twice
 */
export function planShards(tensors: readonly StreamedTensor[], shardBytes: number): StreamedTensor[][] {
  const shards: StreamedTensor[][] = [[]];
  const names = new Set<string>();
  let filled = 0;
  for (const tensor of tensors) {
    if (names.has(tensor.name)) throw new KvantError("INVALID_ARGUMENT", `two tensors are called "${tensor.name}"`);
    names.add(tensor.name);
    if (filled > 0 && filled + tensor.bytes > shardBytes) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)!.push(tensor);
    filled += tensor.bytes;
  }
  return shards;
}

/**
 * Writes the weights of a checkpoint folder: `model.safetensors`, or `model-00001-of-0000N.safetensors` and their index.
 * `onWritten` is called after each shard.
 * @throws KvantError DISK_FULL, WRITE_FAILED, and what the tensors' pieces throw
 */
export function writeShards(
  folder: string,
  shards: readonly (readonly StreamedTensor[])[],
  onWritten: (shard: readonly StreamedTensor[]) => void,
): void {
  const weightMap: [string, string][] = [];
  shards.forEach((shard, index) => {
    const name = shards.length === 1 ? "model.safetensors" : shardName(index, shards.length);
    writeSafetensorsStream(join(folder, name), shard, metadata);
    for (const tensor of shard) weightMap.push([tensor.name, name]);
    onWritten(shard);
  });
  if (shards.length === 1) return;
  const totalSize = shards.flat().reduce((sum, { bytes }) => sum + bytes, 0);
  const index = {
    metadata: { total_size: totalSize },
    weight_map: Object.fromEntries(weightMap.sort(([a], [b]) => (a < b ? -1 : 1))),
  };
  writeDurably(join(folder, "model.safetensors.index.json"), `${JSON.stringify(index, undefined, 2)}\n`);
}

function shardName(index: number, count: number): string {
  const five = (value: number) => String(value).padStart(5, "0");
  return `model-${five(index + 1)}-of-${five(count)}.safetensors`;
}
