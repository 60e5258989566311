import { KeyChain } from "./page-key.ts";

/**
 * The page keys of prompts that ask to come in. A scheduler asks again every step for the head of its queue, and hashes are
 * most of the cost: those of the prompt refused last are kept.
 */
export class PromptChains {
  readonly #pageTokens: readonly number[]; // [groups]
  #refused:
    | { readonly salt: string | undefined; readonly tokenIds: Int32Array; readonly chains: readonly KeyChain[] }
    | undefined;

  /** @param pageTokens [groups] tokens in a page. */
  constructor(pageTokens: readonly number[]) {
    this.#pageTokens = pageTokens;
  }

  /** [groups] groups with one page size share a chain. */
  of(tokenIds: Int32Array, salt: string | undefined): readonly KeyChain[] {
    const refused = this.#refused;
    if (refused !== undefined && refused.salt === salt && sameTokens(refused.tokenIds, tokenIds)) return refused.chains;
    const bySize = new Map<number, KeyChain>();
    return this.#pageTokens.map((pageTokens) => {
      const chain = bySize.get(pageTokens) ?? new KeyChain(pageTokens, salt);
      bySize.set(pageTokens, chain);
      return chain;
    });
  }

  /** For a prompt that was refused: `of` answers the same chains while no other is kept. */
  keep(tokenIds: Int32Array, salt: string | undefined, chains: readonly KeyChain[]): void {
    if (this.#refused?.chains !== chains) this.#refused = { salt, tokenIds: tokenIds.slice(), chains };
  }

  forget(): void {
    this.#refused = undefined;
  }
}

function sameTokens(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}
