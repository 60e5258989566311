import { KvantError } from "@kvant/core";
import { controlBreak } from "./control-text.ts";
import { Tokenizer } from "./tokenizer.ts";
import { Vocabulary } from "./vocabulary.ts";

const byteCount = 256;
const beginToken = "<s>";
const endToken = "</s>";
const utf8 = new TextEncoder();

/**
 * A synthetic vocabulary for models with random weights: ids 0..255 are the bytes, then `<s>` and `</s>` where there is
 * room, and every other id decodes to a printable character, so that a random model streams visible text.
 * @throws KvantError INVALID_ARGUMENT when the vocabulary cannot hold all bytes
 */
export function byteTokenizer(vocabSize: number): Tokenizer {
  if (!Number.isInteger(vocabSize) || vocabSize < byteCount) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `a byte tokenizer needs a vocabulary of at least ${byteCount}, not ${vocabSize}`,
    );
  }
  const [bosTokenId, eosTokenId] = vocabSize >= byteCount + 2 ? [byteCount, byteCount + 1] : [];
  const added =
    bosTokenId === undefined
      ? []
      : [
          { id: bosTokenId, content: beginToken, isControl: true },
          { id: bosTokenId + 1, content: endToken, isControl: true },
        ];
  const tokens = Array.from({ length: vocabSize }, (_, id) => String.fromCharCode(id < byteCount ? id : printable(id)));
  const bytesOf = (token: string): Uint8Array => Uint8Array.of(token.charCodeAt(0));
  const vocabulary = new Vocabulary({
    tokens,
    added,
    decoder: { bytesOf, bytesOfAdded: (content) => utf8.encode(content), stripsLeadingSpace: false },
  });
  return new Tokenizer({
    vocabulary,
    encodeText: (text) =>
      text.split(/(<\/?s>)/).flatMap((piece) => {
        const id = vocabulary.addedId(piece);
        return id === undefined ? [...utf8.encode(piece.replaceAll(controlBreak, ""))] : [id];
      }),
    bosTokenId,
    addsBos: true,
    eosTokenIds: eosTokenId === undefined ? [] : [eosTokenId],
  });
}

/** The 95 printable ASCII characters over and over. */
function printable(id: number): number {
  return 0x20 + (id % 95);
}
