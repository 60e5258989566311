import { KvantError, limit } from "@kvant/core";
import { duplicateKey } from "./duplicate-keys.ts";
import { type Dtype, dtypeBytes, type TensorInfo } from "./tensor.ts";

/** A tensor and where its data begins, counted from the end of the header. */
export interface TensorEntry extends TensorInfo {
  readonly offset: number;
}

export interface SafetensorsHeader {
  /** In the order of their data. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** The free-form strings of `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** Bytes before the header: its length as a 64-bit integer. */
export const headerLengthBytes = 8;

/**
 * The header's length in bytes, from the first bytes of a file.
 * @throws KvantError CHECKPOINT_TRUNCATED if the file ends before the header does, CHECKPOINT_INVALID if the length is
 * beyond the limit
 */
export function headerLength(path: string, start: Uint8Array, fileBytes: number): number {
  if (fileBytes < headerLengthBytes || start.length < headerLengthBytes) {
    throw new KvantError(
      "CHECKPOINT_TRUNCATED",
      `${path}: ${fileBytes} bytes cannot hold the ${headerLengthBytes} bytes that a safetensors file begins with`,
    );
  }
  const length = new DataView(start.buffer, start.byteOffset).getBigUint64(0, true);
  const cap = limit("safetensorsHeaderBytes");
  if (length > BigInt(cap)) {
    throw new KvantError(
      "CHECKPOINT_INVALID",
      `${path}: claims a header of ${length} bytes; the limit is ${cap}. Is it a safetensors file?`,
    );
  }
  if (Number(length) > fileBytes - headerLengthBytes) {
    throw new KvantError(
      "CHECKPOINT_TRUNCATED",
      `${path}: claims a header of ${length} bytes, but the file has ${fileBytes - headerLengthBytes} after the first ${headerLengthBytes}`,
    );
  }
  return Number(length);
}

/**
 * Reads and checks a header against the number of data bytes that follow it: after this every tensor's range lies in the
 * file, ranges neither overlap nor leave gaps, and each range is as long as shape and dtype say.
 * @throws KvantError CHECKPOINT_INVALID, CHECKPOINT_TRUNCATED
 */
export function parseHeader(path: string, header: Uint8Array, dataBytes: number): SafetensorsHeader {
  const fail = (sentence: string): never => {
    throw new KvantError("CHECKPOINT_INVALID", `${path}: ${sentence}`);
  };
  if (header[0] !== 0x7b) fail("the header does not begin with {");
  const json = parseJson(header, fail);
  const repeated = duplicateKey(json.text);
  if (repeated !== undefined) fail(`the header names ${quote(repeated)} twice`);

  const entries = Object.entries(json.record).filter(([name]) => name !== "__metadata__");
  const most = limit("safetensorsTensors");
  if (entries.length > most) fail(`${entries.length} tensors; the limit is ${most}`);
  const tensors = entries.map(([name, value]) => parseEntry(name, value, fail));
  checkRanges(path, tensors, dataBytes, fail);
  return {
    tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
    metadata: parseMetadata(json.record.__metadata__, fail),
  };
}

type Fail = (sentence: string) => never;

function parseJson(header: Uint8Array, fail: Fail): { text: string; record: Record<string, unknown> } {
  let text: string;
  let parsed: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(header);
    parsed = JSON.parse(text);
  } catch (error) {
    return fail(`the header is not JSON in UTF-8 (${error instanceof Error ? error.message : error})`);
  }
  if (!isRecord(parsed)) return fail("the header is not a JSON object");
  return { text, record: parsed };
}

function parseEntry(name: string, value: unknown, fail: Fail): TensorEntry {
  const label = `tensor ${quote(name)}`;
  if (!isRecord(value)) return fail(`${label} is described by ${show(value)}, not by an object`);
  const unknown = Object.keys(value).find((key) => !["dtype", "shape", "data_offsets"].includes(key));
  if (unknown !== undefined) return fail(`${label} has an unknown property ${quote(unknown)}`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isDtype(dtype)) {
    return fail(`${label} has dtype ${show(dtype)}; there are ${Object.keys(dtypeBytes).join(", ")}`);
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    return fail(`${label} has shape ${show(shape)}, not a list of non-negative safe integers`);
  }
  const most = limit("tensorDimensions");
  if (shape.length > most) return fail(`${label} has ${shape.length} dimensions; the limit is ${most}`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    return fail(`${label} has data_offsets ${show(offsets)}, not two non-negative safe integers`);
  }
  const [start, end] = offsets as [number, number];
  if (end < start) return fail(`${label} ends at byte ${end}, before it begins at ${start}`);
  // A zero anywhere makes the product 0 even if a partial product would leave the safe integers.
  const bytes = shape.includes(0) ? 0 : shape.reduce((product, size) => product * size, dtypeBytes[dtype]);
  if (bytes !== end - start) {
    return fail(
      `${label} of dtype ${dtype} and shape [${shape.join(", ")}] needs ${bytes} bytes, but its data_offsets hold ${end - start}`,
    );
  }
  return { name, dtype, shape, bytes, offset: start };
}

/** Sorts the tensors by their place and checks that they fill the data exactly. */
function checkRanges(path: string, tensors: TensorEntry[], dataBytes: number, fail: Fail): void {
  tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let filled = 0;
  for (const { name, offset, bytes } of tensors) {
    if (offset > filled)
      fail(`bytes ${filled} to ${offset} of the data before tensor ${quote(name)} belong to no tensor`);
    if (offset < filled) fail(`tensor ${quote(name)} begins at byte ${offset}, inside the one that ends at ${filled}`);
    filled += bytes;
  }
  if (filled > dataBytes) {
    throw new KvantError(
      "CHECKPOINT_TRUNCATED",
      `${path}: the header promises ${filled} bytes of data, the file has ${dataBytes}`,
    );
  }
  if (filled < dataBytes) fail(`${dataBytes - filled} bytes follow the last tensor`);
}

function parseMetadata(value: unknown, fail: Fail): ReadonlyMap<string, string> {
  if (value === undefined) return new Map();
  if (!isRecord(value)) return fail("__metadata__ is not an object");
  const entries = Object.entries(value);
  const wrong = entries.find(([, each]) => typeof each !== "string");
  if (wrong !== undefined) return fail(`__metadata__ ${quote(wrong[0])} is ${show(wrong[1])}, not a string`);
  return new Map(entries as [string, string][]);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isDtype(value: unknown): value is Dtype {
  return typeof value === "string" && Object.hasOwn(dtypeBytes, value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0);
}

/** A value as JSON, cut short: a lying header may hold megabytes. */
function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}

function quote(name: string): string {
  return show(name);
}
