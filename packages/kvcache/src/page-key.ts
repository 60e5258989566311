import { hash } from "node:crypto";

declare const pageKeyBrand: unique symbol;

/**
 * Names the content of a full page: the SHA-256 of its tokens and of everything before them, 32 bytes held as a latin-1
 * string because strings are what a Map compares by value. Two pages with one key hold the same K and V.
 */
export type PageKey = string & { readonly [pageKeyBrand]: true };

const keyBytes = 32;

/**
 * The key before the first page: `SHA-256("kvant page chain" 0x00 salt)`. Sequences with different salts never share a page,
 * so that a tenant cannot learn from the time to first token what another tenant has sent.
 */
export function rootKey(salt = ""): PageKey {
  return hash("sha256", Buffer.from(`kvant page chain\0${salt}`, "utf8"), "binary") as PageKey;
}

/**
 * The key of a page: `SHA-256(parent tokenIds)`, the ids as 32-bit integers in the machine's byte order (keys never leave
 * the process).
 * @param tokenIds [pageTokens] the tokens of this page.
 */
export function pageKey(parent: PageKey, tokenIds: Int32Array): PageKey {
  const input = scratch(tokenIds.length);
  input.bytes.write(parent, 0, "latin1");
  input.ids.set(tokenIds);
  return hash("sha256", input.bytes, "binary") as PageKey;
}

interface Scratch {
  readonly bytes: Buffer;
  readonly ids: Int32Array;
}

const scratches = new Map<number, Scratch>();

// Page sizes are few (16, 32, 64), and one buffer each saves an allocation per page on long prompts.
function scratch(pageTokens: number): Scratch {
  let found = scratches.get(pageTokens);
  if (found === undefined) {
    const buffer = new ArrayBuffer(keyBytes + 4 * pageTokens);
    found = { bytes: Buffer.from(buffer), ids: new Int32Array(buffer, keyBytes) };
    scratches.set(pageTokens, found);
  }
  return found;
}

/** The keys of one sequence's pages, hashed page by page as they are asked for. */
export class KeyChain {
  readonly pageTokens: number;
  readonly #keys: PageKey[]; // [0] is the root, [i + 1] is page i

  constructor(pageTokens: number, salt?: string) {
    this.pageTokens = pageTokens;
    this.#keys = [rootKey(salt)];
  }

  /**
   * The key of page `index`.
   * @param tokenIds the sequence from position 0, at least `(index + 1) * pageTokens` long. Pages asked for before are not
   *   hashed again, so the ids of a position must never change.
   */
  at(index: number, tokenIds: Int32Array): PageKey {
    const keys = this.#keys;
    for (let page = keys.length - 1; page <= index; page++) {
      const start = page * this.pageTokens;
      keys.push(pageKey(keys[page]!, tokenIds.subarray(start, start + this.pageTokens)));
    }
    return keys[index + 1]!;
  }

  /** The key of page `index` if it was asked for before. */
  known(index: number): PageKey | undefined {
    return this.#keys[index + 1];
  }

  /** A chain of its own that agrees with this one on the first `pageCount` pages. */
  fork(pageCount: number): KeyChain {
    const child = new KeyChain(this.pageTokens);
    child.#keys.length = 0;
    for (const key of this.#keys.slice(0, pageCount + 1)) child.#keys.push(key);
    return child;
  }
}

/** Chains of its own for a child that shares the first `tokenCount` tokens; groups with one chain share the copy too. */
export function forkChains(chains: readonly KeyChain[], tokenCount: number): KeyChain[] {
  const copies = new Map<KeyChain, KeyChain>();
  return chains.map((chain) => {
    const copy = copies.get(chain) ?? chain.fork(Math.floor(tokenCount / chain.pageTokens));
    copies.set(chain, copy);
    return copy;
  });
}
