import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { KvantError } from "@kvant/core";
import { headerLengthBytes } from "./safetensors-header.ts";
import { dtypeBytes, type Tensor } from "./tensor.ts";

/**
 * Writes a safetensors file: into a temporary file beside `path`, flushed, then renamed, so that a reader sees the old file
 * or the whole new one. Wide elements come first, which aligns every tensor to its element.
 * @throws KvantError INVALID_ARGUMENT if a tensor's data is not as long as its shape and dtype say
 */
export function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> = {},
): void {
  const ordered = [...tensors].sort(
    ([nameA, a], [nameB, b]) => dtypeBytes[b.dtype] - dtypeBytes[a.dtype] || (nameA < nameB ? -1 : 1),
  );
  const temporary = `${path}.${process.pid}.tmp`;
  const start = headerOf(ordered, metadata);
  const descriptor = openSync(temporary, "w");
  try {
    try {
      writeAll(descriptor, start);
      for (const [, { data }] of ordered) writeAll(descriptor, data);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** The length and the header, padded with spaces so that the data begins at a multiple of 8 bytes. */
function headerOf(
  tensors: readonly (readonly [string, Tensor])[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const described: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) described.push(["__metadata__", metadata]);
  let offset = 0;
  for (const [name, { dtype, shape, data }] of tensors) {
    const bytes = shape.reduce((product, size) => product * size, dtypeBytes[dtype]);
    if (name === "__metadata__" || bytes !== data.length) {
      throw new KvantError(
        "INVALID_ARGUMENT",
        `tensor "${name}" of dtype ${dtype} and shape [${shape.join(", ")}] cannot be written from ${data.length} bytes`,
      );
    }
    described.push([name, { dtype, shape, data_offsets: [offset, offset + bytes] }]);
    offset += bytes;
  }
  // JSON.stringify of one object would move integer-like names to the front and lose `__proto__`.
  const json = `{${described.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(",")}}`;
  const header = new TextEncoder().encode(json);
  const padded = new Uint8Array(headerLengthBytes + Math.ceil(header.length / 8) * 8).fill(0x20);
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - headerLengthBytes), true);
  padded.set(header, headerLengthBytes);
  return padded;
}

function writeAll(descriptor: number, data: Uint8Array): void {
  for (let written = 0; written < data.length; ) {
    written += writeSync(descriptor, data, written, Math.min(data.length - written, 2 ** 30));
  }
}
