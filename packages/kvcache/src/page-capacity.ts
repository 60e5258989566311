import { KvantError } from "@kvant/core";
import type { PageLayout } from "@kvant/formats";

/** Whole pages in `bytes` of memory, the reserved page 0 included: `floor(bytes / pageBytes)`. */
export function pagesForBytes(layout: PageLayout, bytes: number): number {
  if (!(bytes >= 0)) throw new KvantError("INVALID_ARGUMENT", `a memory budget of ${bytes} bytes is not possible`);
  return Math.floor(bytes / layout.pageBytes);
}

/** Tokens that `bytes` of memory can cache: one page is reserved, the others hold `pageTokens` each. */
export function capacityTokens(layout: PageLayout, bytes: number): number {
  return Math.max(0, pagesForBytes(layout, bytes) - 1) * layout.pageTokens;
}

/** Bytes of a cache with room for `tokenCount` tokens of one sequence, the reserved page included. */
export function bytesForTokens(layout: PageLayout, tokenCount: number): number {
  if (!(tokenCount >= 0)) throw new KvantError("INVALID_ARGUMENT", `${tokenCount} tokens cannot be cached`);
  return (Math.ceil(tokenCount / layout.pageTokens) + 1) * layout.pageBytes;
}
