import { KvantError } from "@kvant/core";
import { replaceFile, writeAll } from "../write-durably.ts";
import { type GgmlType, ggmlBytes, ggmlTypes } from "./ggml-blocks.ts";
import { encodeGgufEntry, type GgufValue } from "./gguf-value.ts";

export interface GgufTensor {
  readonly name: string;
  readonly type: GgmlType;
  /** Row-major, as everywhere in Kvant; the file states it in reverse. Rows consist of whole blocks. */
  readonly shape: readonly number[];
  /** The encoded blocks, in pieces of any length; read once, when the tensor's turn comes. */
  readonly data: () => Iterable<Uint8Array>;
}

const version = 3;
/** The format's default; tensors and the data section begin at multiples of it. */
const alignment = 32;

/**
 * Writes a GGUF file (version 3, little-endian): into a temporary file beside `path`, flushed, then renamed. Data is
 * streamed, so a file may be larger than memory. Layout: github.com/ggml-org/ggml, `docs/gguf.md`.
 * @throws KvantError INVALID_ARGUMENT for rows that are no whole blocks, and for data that is not as long as its shape says
 */
export function writeGguf(
  path: string,
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: readonly GgufTensor[],
): void {
  const header = headerOf(metadata, tensors);
  replaceFile(path, (descriptor) => {
    writeAll(descriptor, header);
    for (const tensor of tensors) writeTensor(descriptor, tensor);
  });
}

function headerOf(metadata: ReadonlyMap<string, GgufValue>, tensors: readonly GgufTensor[]): Uint8Array {
  const start = Buffer.alloc(24);
  start.write("GGUF", "latin1");
  start.writeUInt32LE(version, 4);
  start.writeBigUInt64LE(BigInt(tensors.length), 8);
  start.writeBigUInt64LE(BigInt(metadata.size), 16);
  const parts: Uint8Array[] = [start];
  for (const [key, value] of metadata) parts.push(encodeGgufEntry(key, value));
  let offset = 0;
  for (const tensor of tensors) {
    parts.push(tensorInfo(tensor, offset));
    offset += aligned(tensorBytes(tensor));
  }
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat(parts, aligned(length)); // the rest is zeros
}

function tensorInfo({ name, type, shape }: GgufTensor, offset: number): Uint8Array {
  const text = Buffer.from(name);
  const info = Buffer.alloc(8 + text.length + 4 + 8 * shape.length + 4 + 8);
  let at = info.writeBigUInt64LE(BigInt(text.length), 0);
  at += text.copy(info, at);
  at = info.writeUInt32LE(shape.length, at);
  for (const size of shape.toReversed()) at = info.writeBigUInt64LE(BigInt(size), at);
  at = info.writeUInt32LE(ggmlTypes[type].id, at);
  info.writeBigUInt64LE(BigInt(offset), at);
  return info;
}

function tensorBytes({ name, type, shape }: GgufTensor): number {
  const { blockValues } = ggmlTypes[type];
  const columns = shape.at(-1) ?? 1;
  if (columns % blockValues !== 0) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `tensor "${name}" has rows of ${columns} values, which are no whole ${type} blocks of ${blockValues}`,
    );
  }
  return ggmlBytes(
    type,
    shape.reduce((product, size) => product * size, 1),
  );
}

function writeTensor(descriptor: number, tensor: GgufTensor): void {
  const bytes = tensorBytes(tensor);
  let written = 0;
  for (const piece of tensor.data()) {
    written += piece.length;
    if (written <= bytes) writeAll(descriptor, piece);
  }
  if (written !== bytes) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `tensor "${tensor.name}" of type ${tensor.type} and shape [${tensor.shape.join(", ")}] has ${bytes} bytes, not ${written}`,
    );
  }
  writeAll(descriptor, new Uint8Array(aligned(bytes) - bytes));
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}
