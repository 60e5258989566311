import { closeSync, openSync, readSync } from "node:fs";
import { TextDecoder } from "node:util";
import { invalidOption, unreadable } from "./invalid-option.ts";

export interface TextLine {
  /** From 1. */
  readonly number: number;
  /** Without its line end. */
  readonly text: string;
  /** Where its bytes lie in the file, line end left out. */
  readonly offset: number;
  readonly byteLength: number;
}

/** A prompt of a million tokens is about 4 MB of English; what is longer is no file of lines. */
const maxLineBytes = 64 * 1024 * 1024;

const chunkBytes = 256 * 1024;
const byteOrderMark = Buffer.of(0xef, 0xbb, 0xbf);
const [lineFeed, carriageReturn] = [10, 13];

/**
 * The pieces of a file, read as they are asked for: a workload draws its requests synchronously and holds no large file.
 * @throws KvantError INVALID_ARGUMENT for a file that cannot be read
 */
export function* fileChunks(path: string, field: string): Generator<Buffer, void> {
  const file = openFile(path, field);
  try {
    for (;;) {
      const chunk = Buffer.allocUnsafe(chunkBytes);
      const count = readSync(file, chunk);
      if (count === 0) return;
      yield chunk.subarray(0, count);
    }
  } catch (cause) {
    throw unreadable(path, field, cause);
  } finally {
    closeSync(file);
  }
}

/** Bytes of the byte-order mark that a file begins with: 3 or 0. */
export function byteOrderMarkLength(firstChunk: Buffer): number {
  return firstChunk.subarray(0, byteOrderMark.length).equals(byteOrderMark) ? byteOrderMark.length : 0;
}

/**
 * Lines of UTF-8 text, blank ones left out; a byte-order mark is skipped, `\r\n` ends a line too.
 * @throws KvantError INVALID_ARGUMENT for a file that cannot be read, a line that is too long or no UTF-8
 */
export function* textLines(path: string, field: string): Generator<TextLine, void> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let [number, offset] = [0, 0];
  const lineOf = (bytes: Buffer): TextLine => {
    const mark = number++ === 0 ? byteOrderMarkLength(bytes) : 0;
    const content = bytes.subarray(mark, bytes.at(-1) === carriageReturn ? -1 : bytes.length);
    const text = decodeLine(decoder, content, `${path}: line ${number}`, field);
    const line = { number, text, offset: offset + mark, byteLength: content.length };
    offset += bytes.length + 1;
    return line;
  };
  let rest: Buffer = Buffer.alloc(0);
  for (const chunk of fileChunks(path, field)) {
    const joined: Buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end = joined.indexOf(lineFeed); end !== -1; end = joined.indexOf(lineFeed, start)) {
      const line = lineOf(joined.subarray(start, end));
      if (line.text.trim() !== "") yield line;
      start = end + 1;
    }
    rest = joined.subarray(start);
    if (rest.length > maxLineBytes) {
      throw invalidOption(field, `${path}: line ${number + 1} is longer than ${maxLineBytes} bytes`);
    }
  }
  if (rest.length === 0) return;
  const last = lineOf(rest);
  if (last.text.trim() !== "") yield last;
}

function decodeLine(decoder: TextDecoder, bytes: Buffer, where: string, field: string): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw invalidOption(field, `${where} is not UTF-8 text: ${JSON.stringify(bytes.toString("latin1").slice(0, 60))}`);
  }
}

function openFile(path: string, field: string): number {
  try {
    return openSync(path, "r");
  } catch (cause) {
    throw unreadable(path, field, cause);
  }
}
