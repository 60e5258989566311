import { KvantError } from "@kvant/core";
import { writing } from "./disk-errors.ts";
import { headerLengthBytes } from "./safetensors-header.ts";
import { type Dtype, dtypeBytes, type Tensor } from "./tensor.ts";
import { replaceFile, writeAll } from "./write-durably.ts";

/** A tensor whose data arrives in pieces. */
export interface StreamedTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Bytes of the data in all. */
  readonly bytes: number;
  /** The data, piece after piece. */
  readonly pieces: () => Iterable<Uint8Array>;
}

/**
 * Writes a safetensors file: into a temporary file beside `path`, flushed, then renamed, so that a reader sees the old file
 * or the whole new one. Wide elements come first, which aligns every tensor to its element.
 * @throws KvantError INVALID_ARGUMENT if a tensor's data is not as long as its shape and dtype say, DISK_FULL, WRITE_FAILED
 */
export function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> = {},
): void {
  const streamed = [...tensors].map(
    ([name, { dtype, shape, data }]): StreamedTensor => ({
      ...{ name, dtype, shape, bytes: data.length },
      pieces: () => [data],
    }),
  );
  writeSafetensorsStream(path, streamed, metadata);
}

/**
 * The same for tensors that do not lie in memory: the header is made of their shapes, and their data is asked for one tensor
 * after another.
 * @throws KvantError as `writeSafetensors`, and what the pieces throw
 */
export function writeSafetensorsStream(
  path: string,
  tensors: readonly StreamedTensor[],
  metadata: Readonly<Record<string, string>> = {},
): void {
  const ordered = tensors.toSorted((a, b) => dtypeBytes[b.dtype] - dtypeBytes[a.dtype] || (a.name < b.name ? -1 : 1));
  const start = headerOf(ordered, metadata);
  writing(path, () =>
    replaceFile(path, (descriptor) => {
      writeAll(descriptor, start);
      for (const tensor of ordered) writeTensor(descriptor, tensor);
    }),
  );
}

function writeTensor(descriptor: number, { name, bytes, pieces }: StreamedTensor): void {
  let written = 0;
  for (const piece of pieces()) {
    writeAll(descriptor, piece);
    written += piece.length;
  }
  if (written !== bytes) {
    throw new KvantError("INVALID_ARGUMENT", `tensor "${name}" came as ${written} bytes of ${bytes}`);
  }
}

/** The length and the header, padded with spaces so that the data begins at a multiple of 8 bytes. */
function headerOf(tensors: readonly StreamedTensor[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const described: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) described.push(["__metadata__", metadata]);
  let offset = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    const needed = shape.reduce((product, size) => product * size, dtypeBytes[dtype]);
    if (name === "__metadata__" || needed !== bytes) {
      throw new KvantError(
        "INVALID_ARGUMENT",
        `tensor "${name}" of dtype ${dtype} and shape [${shape.join(", ")}] cannot be written from ${bytes} bytes`,
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
