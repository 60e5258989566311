import type { LayerGroup } from "./layer-group.ts";
import { nullPage, type PageId } from "./page-id.ts";
import type { KeyChain } from "./page-key.ts";

/** The longest prefix of a prompt that need not be computed. */
export interface PrefixMatch {
  /** Cached tokens: a multiple of every group's page size, and less than the prompt. */
  readonly tokenCount: number;
  /** [groups] the pages of positions `0 .. tokenCount - 1`, null pages where the window has passed. */
  readonly pages: readonly PageId[][];
}

/**
 * The longest prefix for which every group still has all it will read: a full group every page, a windowed group the pages
 * inside the window before the continuation point. The last token is never part of it, because somebody has to compute
 * the logits that the first new token is sampled from.
 * @param chains [groups] the prompt's keys with each group's page size.
 */
export function longestPrefix(
  groups: readonly LayerGroup[],
  chains: readonly KeyChain[],
  tokenIds: Int32Array,
): PrefixMatch {
  const alignment = groups.reduce((multiple, group) => leastCommonMultiple(multiple, group.pageTokens), 1);
  const alignDown = (tokens: number): number => tokens - (tokens % alignment);
  let tokenCount = alignDown(Math.max(0, tokenIds.length - 1));

  const find = (g: number, index: number): PageId | undefined => groups[g]!.index.find(chains[g]!.at(index, tokenIds));

  // Full groups first, from the front: they stop hashing at the first miss.
  for (const [g, group] of groups.entries()) {
    if (group.isWindowed) continue;
    const end = tokenCount / group.pageTokens;
    let index = 0;
    while (index < end && find(g, index) !== undefined) index++;
    tokenCount = alignDown(index * group.pageTokens);
  }

  // Windowed groups from the back: a miss at page m rules out every continuation point whose window covers m, and no point
  // between here and m has a window that avoids it.
  for (let settled = false; !settled; ) {
    settled = true;
    for (const [g, group] of groups.entries()) {
      if (!group.isWindowed) continue;
      const first = group.firstPageRead(tokenCount);
      for (let index = tokenCount / group.pageTokens - 1; index >= first; index--) {
        if (find(g, index) !== undefined) continue;
        tokenCount = alignDown(index * group.pageTokens);
        settled = false;
        break;
      }
    }
  }

  const pages = groups.map((group, g) => {
    const first = group.firstPageRead(tokenCount);
    return Array.from({ length: tokenCount / group.pageTokens }, (_, index) =>
      index < first ? nullPage : find(g, index)!,
    );
  });
  return { tokenCount, pages };
}

function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return (a / x) * b;
}
