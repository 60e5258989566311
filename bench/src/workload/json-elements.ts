import { invalidOption } from "./invalid-option.ts";
import { byteOrderMarkLength, fileChunks } from "./text-lines.ts";

export interface JsonElement {
  /** Line on which it starts, from 1. */
  readonly line: number;
  readonly text: string;
  /** Where its bytes lie in the file. */
  readonly offset: number;
  readonly byteLength: number;
}

/** A conversation of a million tokens is about 4 MB. */
const maxElementBytes = 64 * 1024 * 1024;

const [tab, lineFeed, carriageReturn, space] = [0x09, 0x0a, 0x0d, 0x20];
const [quote, comma, backslash] = [0x22, 0x2c, 0x5c];
const [openBracket, closeBracket, openBrace, closeBrace] = [0x5b, 0x5d, 0x7b, 0x7d];

/**
 * The objects of a JSON array, one by one: the published ShareGPT file is larger than the longest string of V8.
 * @throws KvantError INVALID_ARGUMENT for a file that cannot be read or is no array of objects
 */
export function* jsonElements(path: string, field: string): Generator<JsonElement, void> {
  const scanner = new ArrayScanner();
  let [offset, line, startLine] = [0, 1, 1];
  // Of the object that is open: its bytes in the chunks before this one.
  let [head, headBytes]: [Buffer[], number] = [[], 0];
  const malformed = (what: string): Error =>
    invalidOption(field, `${path}: line ${line}: ${what}, and not a JSON array of objects`);
  for (const chunk of fileChunks(path, field)) {
    let start = 0;
    for (let at = offset === 0 ? byteOrderMarkLength(chunk) : 0; at < chunk.length; at++) {
      const byte = chunk[at]!;
      const event = scanner.take(byte);
      if (byte === lineFeed) line++;
      if (event === undefined) continue;
      if (event === "misplaced") throw malformed(`it has ${JSON.stringify(chunk.toString("utf8", at, at + 20))}`);
      if (event === "begins") [start, startLine] = [at, line];
      else {
        const bytes = Buffer.concat([...head, chunk.subarray(start, at + 1)]);
        const { length: byteLength } = bytes;
        yield { line: startLine, text: bytes.toString("utf8"), offset: offset + at + 1 - byteLength, byteLength };
        [head, headBytes] = [[], 0];
      }
    }
    if (scanner.isInObject) {
      head.push(chunk.subarray(start));
      headBytes += chunk.length - start;
      if (headBytes > maxElementBytes) throw malformed(`an object is longer than ${maxElementBytes} bytes`);
    }
    offset += chunk.length;
  }
  if (!scanner.isComplete) throw malformed("the file ends there");
}

/**
 * Finds where the objects of an array begin and end by counting braces outside of strings; the grammar inside of them is left
 * to `JSON.parse`, and commas between them are not counted.
 */
class ArrayScanner {
  #place: "before" | "between" | "in object" | "in string" | "after" = "before";
  #depth = 0;
  #isEscaped = false;

  get isInObject(): boolean {
    return this.#place === "in object" || this.#place === "in string";
  }

  get isComplete(): boolean {
    return this.#place === "after";
  }

  /** What the next byte does: begin an object, end one, or stand where it cannot; undefined for the rest. */
  take(byte: number): "begins" | "ends" | "misplaced" | undefined {
    switch (this.#place) {
      case "in string":
        if (this.#isEscaped) this.#isEscaped = false;
        else if (byte === backslash) this.#isEscaped = true;
        else if (byte === quote) this.#place = "in object";
        return undefined;
      case "in object":
        if (byte === quote) this.#place = "in string";
        else if (byte === openBrace) this.#depth++;
        else if (byte === closeBrace && --this.#depth === 0) {
          this.#place = "between";
          return "ends";
        }
        return undefined;
      case "between":
        if (byte === openBrace) {
          [this.#place, this.#depth] = ["in object", 1];
          return "begins";
        }
        if (byte === closeBracket) this.#place = "after";
        else if (byte !== comma && !isBlank(byte)) return "misplaced";
        return undefined;
      case "before":
        if (byte === openBracket) this.#place = "between";
        else if (!isBlank(byte)) return "misplaced";
        return undefined;
      case "after":
        return isBlank(byte) ? undefined : "misplaced";
      default:
        return this.#place satisfies never;
    }
  }
}

function isBlank(byte: number): boolean {
  return byte === space || byte === lineFeed || byte === carriageReturn || byte === tab;
}
