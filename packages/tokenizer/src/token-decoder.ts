import { KvantError } from "@kvant/core";
import { isRecord } from "./json-file.ts";

/** How the tokens of one vocabulary turn back into bytes. */
export interface TokenDecoder {
  /** The bytes that a token of the model stands for, wherever it occurs. */
  readonly bytesOf: (token: string) => Uint8Array;
  /** The same for a token that was added to the model's vocabulary. */
  readonly bytesOfAdded: (content: string) => Uint8Array;
  /** SentencePiece puts a space before the first word; it is taken off the start of a decoded text. */
  readonly stripsLeadingSpace: boolean;
}

type Step = (piece: string | Uint8Array) => string | Uint8Array;

const utf8 = new TextEncoder();

/**
 * Reads the `decoder` of a tokenizer.json. Only decoders that work token by token are taken, because a stream is decoded at
 * a cost per token, not per text.
 * @throws KvantError CONFIG_INVALID naming the decoder that is not supported
 */
export function tokenDecoder(decoder: unknown): TokenDecoder {
  const steps: Step[] = [];
  let stripsLeadingSpace = false;
  let addedAreRaw = false;
  let fused = false;
  for (const each of flatten(decoder)) {
    switch (each.type) {
      case "ByteLevel":
        steps.push((piece) => (typeof piece === "string" ? byteLevelBytes(piece) : piece));
        addedAreRaw = true;
        break;
      case "Metaspace":
        steps.push(replaceStep(String(each.replacement ?? "▁"), " "));
        stripsLeadingSpace =
          each.prepend_scheme !== undefined ? each.prepend_scheme !== "never" : each.add_prefix_space !== false;
        break;
      case "Replace": {
        const pattern = isRecord(each.pattern) ? each.pattern.String : undefined;
        if (typeof pattern !== "string" || typeof each.content !== "string") throw unsupported(each);
        steps.push(replaceStep(pattern, each.content));
        break;
      }
      case "ByteFallback":
        steps.push((piece) => (typeof piece === "string" ? (fallbackByte(piece) ?? piece) : piece));
        break;
      case "Fuse":
        fused = true;
        break;
      case "Strip":
        if (!fused || each.content !== " " || each.start !== 1 || each.stop !== 0) throw unsupported(each);
        stripsLeadingSpace = true;
        break;
      default:
        throw unsupported(each);
    }
  }
  const bytesOf = (token: string): Uint8Array => {
    const piece = steps.reduce<string | Uint8Array>((rest, step) => step(rest), token);
    return typeof piece === "string" ? utf8.encode(piece) : piece;
  };
  return { bytesOf, bytesOfAdded: addedAreRaw ? (content) => utf8.encode(content) : bytesOf, stripsLeadingSpace };
}

function flatten(decoder: unknown): Record<string, unknown>[] {
  if (!isRecord(decoder)) throw unsupported(decoder);
  if (decoder.type !== "Sequence") return [decoder];
  if (!Array.isArray(decoder.decoders)) throw unsupported(decoder);
  return decoder.decoders.flatMap(flatten);
}

function unsupported(decoder: unknown): KvantError {
  const shown = JSON.stringify(decoder)?.slice(0, 200);
  return new KvantError("CONFIG_INVALID", `tokenizer.json has a decoder that cannot decode token by token: ${shown}`);
}

function replaceStep(from: string, to: string): Step {
  return (piece) => (typeof piece === "string" ? piece.replaceAll(from, to) : piece);
}

/** `<0x0A>` is the byte 10. */
function fallbackByte(token: string): Uint8Array | undefined {
  const match = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
  return match === null ? undefined : Uint8Array.of(Number.parseInt(match[1]!, 16));
}

const byteOfCharacter = byteLevelAlphabet();

/**
 * Byte-level BPE writes every byte as one printable character: the printable ones of Latin-1 as themselves, the other 68 as
 * U+0100 and on, in byte order (GPT-2's alphabet).
 */
function byteLevelAlphabet(): ReadonlyMap<string, number> {
  const isPrintable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  const alphabet = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    alphabet.set(String.fromCharCode(isPrintable(byte) ? byte : next++), byte);
  }
  return alphabet;
}

function byteLevelBytes(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = byteOfCharacter.get(token[i]!);
    if (byte === undefined) return utf8.encode(token); // a token outside the alphabet stands for its own text
    bytes[i] = byte;
  }
  return bytes;
}
