import { closeSync, openSync, readSync } from "node:fs";
import { invalidOption, unreadable } from "./invalid-option.ts";
import { jsonElements } from "./json-elements.ts";
import { parseJson } from "./json-values.ts";
import { textLines } from "./text-lines.ts";

/** What a load can use of an entry, or why it cannot, which is counted. */
export type Reading<T> = { readonly entry: T } | { readonly leftOut: string };

export interface RecordFileOptions<T> {
  readonly path: string;
  readonly shape: "lines" | "array";
  /**
   * Throws for an entry that is malformed.
   * @param where `PATH: line N`, for the sentence of an error
   */
  readonly read: (value: unknown, where: string) => Reading<T>;
  /** Called for each entry that can be used, once, when the file is opened. */
  readonly onEntry?: (entry: T) => void;
}

const field = "datasetFile";

/**
 * The entries of a JSON lines file or a JSON array. The first pass checks every one, so that no load fails in its middle, and
 * keeps where they lie; an entry is read again when it is drawn, so that a file larger than the memory can be used.
 */
export class RecordFile<T> {
  /** How many entries were left out, by reason. */
  readonly leftOut: ReadonlyMap<string, number>;
  readonly #options: RecordFileOptions<T>;
  readonly #offsets: number[] = [];
  readonly #byteLengths: number[] = [];
  readonly #lines: number[] = [];

  /** @throws KvantError INVALID_ARGUMENT with file, line and value for what is malformed, and where no entry is left */
  constructor(options: RecordFileOptions<T>) {
    const { path, shape, read, onEntry } = options;
    this.#options = options;
    const leftOut = new Map<string, number>();
    for (const { line, text, offset, byteLength } of shape === "lines" ? lines(path) : jsonElements(path, field)) {
      const where = `${path}: line ${line}`;
      const reading = read(parseJson(text, where, field), where);
      if ("leftOut" in reading) leftOut.set(reading.leftOut, (leftOut.get(reading.leftOut) ?? 0) + 1);
      else {
        this.#offsets.push(offset);
        this.#byteLengths.push(byteLength);
        this.#lines.push(line);
        onEntry?.(reading.entry);
      }
    }
    this.leftOut = leftOut;
    if (this.count === 0) {
      const reasons = [...leftOut].map(([reason, count]) => `${count} ${reason}`).join(", ");
      throw invalidOption(field, `${path}: has no entry that can be used (${reasons || "it is empty"})`);
    }
  }

  /** Entries that can be used. */
  get count(): number {
    return this.#offsets.length;
  }

  /** @param index from 0 to `count - 1` */
  at(index: number): T {
    const { path, read } = this.#options;
    const where = `${path}: line ${this.#lines[index]}`;
    const text = readPiece(path, this.#offsets[index]!, this.#byteLengths[index]!);
    const reading = read(parseJson(text, where, field), where);
    if ("entry" in reading) return reading.entry;
    throw invalidOption(field, `${where} was changed while the load used it`);
  }
}

function* lines(path: string): Generator<{ line: number; text: string; offset: number; byteLength: number }> {
  for (const { number, ...line } of textLines(path, field)) yield { line: number, ...line };
}

function readPiece(path: string, offset: number, byteLength: number): string {
  const bytes = Buffer.alloc(byteLength);
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    readSync(file, bytes, 0, byteLength, offset);
  } catch (cause) {
    throw unreadable(path, field, cause);
  } finally {
    if (file !== undefined) closeSync(file);
  }
  return bytes.toString("utf8");
}
