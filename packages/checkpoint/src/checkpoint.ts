import { existsSync } from "node:fs";
import { join } from "node:path";
import { KvantError, limit } from "@kvant/core";
import { readJsonObject } from "./json-file.ts";
import { SafetensorsFile } from "./safetensors-file.ts";
import { type Tensor, type TensorInfo, toFloat32 } from "./tensor.ts";

/** An open checkpoint of one file or many. Tensor data is read when asked for. */
export interface Checkpoint {
  readonly folder: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** @throws KvantError TENSOR_MISSING, CHECKPOINT_TRUNCATED */
  read(name: string): Tensor;
  /** Rows `start` to `start + count` along the first axis. @throws KvantError TENSOR_MISSING, INVALID_ARGUMENT */
  readRows(name: string, start: number, count: number): Tensor;
  /** The values of a floating-point tensor. @throws KvantError TENSOR_MISSING, TENSOR_SHAPE for other dtypes */
  readFloat32(name: string): Float32Array;
  /** Closes the files; reading afterwards throws. */
  close(): void;
}

const singleFile = "model.safetensors";
const indexFile = "model.safetensors.index.json";

/**
 * Opens a checkpoint folder in Hugging Face layout: `model.safetensors`, or shards named by `model.safetensors.index.json`.
 * Every header is checked here; no tensor data is read.
 * @throws KvantError CHECKPOINT_NOT_FOUND, CHECKPOINT_TRUNCATED, CHECKPOINT_INVALID
 */
export function openCheckpoint(folder: string): Checkpoint {
  if (existsSync(join(folder, singleFile))) {
    const file = new SafetensorsFile(join(folder, singleFile));
    return checkpointOf(folder, new Map([...file.tensors.keys()].map((name) => [name, file])));
  }
  if (existsSync(join(folder, indexFile))) return openShards(folder);
  throw new KvantError("CHECKPOINT_NOT_FOUND", `${folder}: holds neither ${singleFile} nor ${indexFile}`);
}

function openShards(folder: string): Checkpoint {
  const path = join(folder, indexFile);
  const shardNames = readWeightMap(path);
  const shards = new Map<string, SafetensorsFile>();
  try {
    for (const shard of new Set(shardNames.values())) shards.set(shard, new SafetensorsFile(join(folder, shard)));
    const files = new Map<string, SafetensorsFile>();
    for (const [name, shard] of shardNames) {
      const file = shards.get(shard)!;
      if (!file.tensors.has(name)) {
        throw new KvantError(
          "CHECKPOINT_INVALID",
          `${path}: places tensor "${name}" in ${shard}, which does not hold it`,
        );
      }
      files.set(name, file);
    }
    for (const [shard, { tensors }] of shards) {
      for (const name of tensors.keys()) {
        if (shardNames.get(name) === shard) continue;
        throw new KvantError("CHECKPOINT_INVALID", `${path}: does not list tensor "${name}" of ${shard}`);
      }
    }
    return checkpointOf(folder, files);
  } catch (error) {
    for (const file of shards.values()) file.close();
    throw error;
  }
}

/** Tensor name to shard file name, checked. */
function readWeightMap(path: string): ReadonlyMap<string, string> {
  const { weight_map: weightMap } = readJsonObject(path, "CHECKPOINT_INVALID");
  if (typeof weightMap !== "object" || weightMap === null || Array.isArray(weightMap)) {
    throw new KvantError("CHECKPOINT_INVALID", `${path}: has no object weight_map`);
  }
  const entries = Object.entries(weightMap);
  if (entries.length > limit("safetensorsTensors")) {
    throw new KvantError(
      "CHECKPOINT_INVALID",
      `${path}: lists ${entries.length} tensors; the limit is ${limit("safetensorsTensors")}`,
    );
  }
  for (const [name, shard] of entries) {
    // A plain file name: separators, drive letters or a leading dot could lead out of the folder.
    if (typeof shard !== "string" || !/^[\w-][\w.-]*\.safetensors$/.test(shard)) {
      throw new KvantError(
        "CHECKPOINT_INVALID",
        `${path}: places tensor "${name}" in ${JSON.stringify(shard)}, which is not the name of a .safetensors file in this folder`,
      );
    }
  }
  const shardNames = new Map(entries as [string, string][]);
  const shardCount = new Set(shardNames.values()).size;
  if (shardCount > limit("checkpointShards")) {
    throw new KvantError(
      "CHECKPOINT_INVALID",
      `${path}: names ${shardCount} shards; the limit is ${limit("checkpointShards")}`,
    );
  }
  return shardNames;
}

function checkpointOf(folder: string, files: ReadonlyMap<string, SafetensorsFile>): Checkpoint {
  const fileOf = (name: string): SafetensorsFile => {
    const file = files.get(name);
    if (file !== undefined) return file;
    throw new KvantError("TENSOR_MISSING", `${folder}: there is no tensor "${name}"`, { field: name });
  };
  const read = (name: string) => fileOf(name).read(name);
  return {
    folder,
    tensors: new Map([...files].map(([name, file]) => [name, file.tensors.get(name)!])),
    read,
    readRows: (name, start, count) => fileOf(name).readRows(name, start, count),
    readFloat32: (name) => toFloat32(read(name), `${folder}: tensor "${name}"`),
    close() {
      for (const file of files.values()) file.close();
    },
  };
}
