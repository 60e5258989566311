import { SafetensorsFile } from "./safetensors-file.ts";
import type { Tensor } from "./tensor.ts";

/**
 * Reads a whole small safetensors file into memory.
 * @throws KvantError CHECKPOINT_NOT_FOUND, CHECKPOINT_TRUNCATED, CHECKPOINT_INVALID
 */
export function readSafetensors(path: string): {
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly metadata: ReadonlyMap<string, string>;
} {
  const file = new SafetensorsFile(path);
  try {
    const tensors = new Map([...file.tensors.keys()].map((name) => [name, file.read(name)]));
    return { tensors, metadata: file.metadata };
  } finally {
    file.close();
  }
}
