import { KvantError } from "@kvant/core";

/** No server sends longer events than that, log probabilities of a whole prompt perhaps excepted. */
const longestEvent = 4 * 1024 * 1024;

/**
 * Server-sent events (WHATWG HTML, "Server-sent events") out of pieces that TCP cut anywhere. Text is handed on as Latin-1, one
 * character per byte, so that a cut inside a character of UTF-8 does no harm; who wants to read it decodes it. Lines end with
 * LF or CR LF; a CR alone, which no server here sends, is part of its line. Comments and unknown fields are skipped; a field
 * `error`, with which llama.cpp reported errors until the end of 2025, is an event of that name.
 */
export class EventStream {
  readonly #take: (data: string, name: string) => void;
  #rest = "";
  #data: string | undefined;
  #name = "";

  /** @param take an event's data lines, joined with LF, and its name, empty unless given */
  constructor(take: (data: string, name: string) => void) {
    this.#take = take;
  }

  /** @throws KvantError REQUEST_TOO_LARGE for an event without end */
  push(piece: Buffer): void {
    const text = this.#rest + piece.toString("latin1");
    let start = 0;
    for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n", start)) {
      this.#line(text.slice(start, end > start && text.charCodeAt(end - 1) === 13 ? end - 1 : end));
      start = end + 1;
    }
    this.#rest = text.slice(start);
    if (this.#rest.length + (this.#data?.length ?? 0) > longestEvent) {
      throw new KvantError("REQUEST_TOO_LARGE", `an event of the stream is longer than ${longestEvent} bytes`);
    }
  }

  /** The standard drops an event that no empty line ends; servers that close after a last `data: [DONE]` mean it. */
  end(): void {
    if (this.#rest !== "") this.#line(this.#rest);
    this.#rest = "";
    this.#dispatch();
  }

  #line(line: string): void {
    if (line === "") this.#dispatch();
    else if (line.startsWith("data:")) this.#append(fieldValue(line, 5));
    else if (line.startsWith("event:")) this.#name = fieldValue(line, 6);
    else if (line.startsWith("error:")) {
      this.#name = "error";
      this.#append(fieldValue(line, 6));
    }
  }

  #append(value: string): void {
    this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`;
  }

  #dispatch(): void {
    const [data, name] = [this.#data, this.#name];
    this.#data = undefined;
    this.#name = "";
    if (data !== undefined && data !== "") this.#take(data, name);
  }
}

/** One blank after the colon does not belong to the value. */
function fieldValue(line: string, colonEnd: number): string {
  return line.slice(line.charCodeAt(colonEnd) === 32 ? colonEnd + 1 : colonEnd);
}
