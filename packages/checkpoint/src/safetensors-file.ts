import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { KvantError } from "@kvant/core";
import {
  headerLength,
  headerLengthBytes,
  parseHeader,
  type SafetensorsHeader,
  type TensorEntry,
} from "./safetensors-header.ts";
import type { Tensor } from "./tensor.ts";

// One read call moves at most 2^31 - 1 bytes on every platform; tensors may be larger.
const readCallBytes = 2 ** 30;

/** An open safetensors file: the header is read and checked, tensor data is read when asked for. */
export class SafetensorsFile {
  readonly path: string;
  readonly tensors: SafetensorsHeader["tensors"];
  readonly metadata: SafetensorsHeader["metadata"];
  readonly #dataStart: number;
  #descriptor: number | undefined;

  /**
   * Opens a file and validates its header against its size. Nothing is allocated that the file's own size does not cover.
   * @throws KvantError CHECKPOINT_NOT_FOUND, CHECKPOINT_TRUNCATED, CHECKPOINT_INVALID
   */
  constructor(path: string) {
    this.path = path;
    const descriptor = openRegularFile(path);
    try {
      const fileBytes = fstatSync(descriptor).size;
      const start = readExactly(path, descriptor, 0, Math.min(fileBytes, headerLengthBytes));
      const length = headerLength(path, start, fileBytes);
      this.#dataStart = headerLengthBytes + length;
      const header = readExactly(path, descriptor, headerLengthBytes, length);
      ({ tensors: this.tensors, metadata: this.metadata } = parseHeader(path, header, fileBytes - this.#dataStart));
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
    this.#descriptor = descriptor;
  }

  /**
   * Reads one tensor.
   * @throws KvantError TENSOR_MISSING, or CHECKPOINT_TRUNCATED if the file has shrunk since it was opened
   */
  read(name: string): Tensor {
    const { dtype, shape, offset, bytes } = this.#entry(name);
    return { dtype, shape, data: this.#readData(offset, bytes) };
  }

  /**
   * Reads `count` rows of a tensor from row `start` on: slices along its first axis.
   * @throws KvantError TENSOR_MISSING, INVALID_ARGUMENT if the tensor has no such rows
   */
  readRows(name: string, start: number, count: number): Tensor {
    const { dtype, shape, offset, bytes } = this.#entry(name);
    const rows = shape[0];
    const inside = Number.isSafeInteger(start) && Number.isSafeInteger(count) && start >= 0 && count >= 0;
    if (rows === undefined || !inside || start + count > rows) {
      throw new KvantError(
        "INVALID_ARGUMENT",
        `rows ${start} to ${start + count} are outside tensor "${name}" of shape [${shape.join(", ")}] in ${this.path}`,
      );
    }
    const rowBytes = rows === 0 ? 0 : bytes / rows;
    const data = this.#readData(offset + start * rowBytes, count * rowBytes);
    return { dtype, shape: [count, ...shape.slice(1)], data };
  }

  /**
   * The data of one tensor in pieces of at most `pieceBytes`, for copying what should not lie in memory whole.
   * @throws KvantError TENSOR_MISSING, CHECKPOINT_TRUNCATED
   */
  *pieces(name: string, pieceBytes: number): Generator<Uint8Array> {
    const { offset, bytes } = this.#entry(name);
    for (let start = 0; start < bytes; start += pieceBytes) {
      yield this.#readData(offset + start, Math.min(pieceBytes, bytes - start));
    }
  }

  /** Closes the file. Reading afterwards throws; closing twice does nothing. */
  close(): void {
    if (this.#descriptor === undefined) return;
    closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #entry(name: string): TensorEntry {
    const entry = this.tensors.get(name);
    if (entry !== undefined) return entry;
    throw new KvantError("TENSOR_MISSING", `${this.path}: there is no tensor "${name}"`, { field: name });
  }

  #readData(offset: number, bytes: number): Uint8Array {
    if (this.#descriptor === undefined) throw new KvantError("INVALID_ARGUMENT", `${this.path} is closed`);
    return readExactly(this.path, this.#descriptor, this.#dataStart + offset, bytes);
  }
}

/** Opens a file for reading, having checked that it is one: opening a pipe would wait for its writer. */
function openRegularFile(path: string): number {
  let isFile: boolean;
  try {
    isFile = statSync(path).isFile();
    if (isFile) return openSync(path, "r");
  } catch (cause) {
    throw new KvantError(
      "CHECKPOINT_NOT_FOUND",
      `${path}: cannot be opened (${cause instanceof Error ? cause.message : cause})`,
      {
        cause,
      },
    );
  }
  throw new KvantError("CHECKPOINT_INVALID", `${path}: is not a file`);
}

function readExactly(path: string, descriptor: number, position: number, bytes: number): Uint8Array {
  let data: Uint8Array;
  try {
    data = new Uint8Array(bytes);
  } catch (cause) {
    throw new KvantError("OUT_OF_MEMORY", `${path}: no memory for ${bytes} bytes`, { cause });
  }
  let filled = 0;
  while (filled < bytes) {
    const read = readSync(descriptor, data, filled, Math.min(bytes - filled, readCallBytes), position + filled);
    if (read === 0) {
      throw new KvantError(
        "CHECKPOINT_TRUNCATED",
        `${path}: ends before byte ${position + bytes}, which it had when it was opened`,
      );
    }
    filled += read;
  }
  return data;
}
