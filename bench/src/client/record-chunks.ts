import type { RequestRecord } from "../load/request-record.ts";

/**
 * Calls for each chunk with text or tokens, in order: when it came, how many tokens it brought, and how long after the one
 * before (undefined for the first). Where the server told the tokens of the answer but not of its chunks, they are dealt out
 * evenly: of T tokens in C chunks the first i have floor(i T / C).
 */
export function forEachChunk(
  record: RequestRecord,
  visit: (at: number, tokens: number, gap: number | undefined) => void,
): void {
  const { firstTokenAt, gaps, gapTokens, outputTokens } = record;
  if (firstTokenAt === undefined) return;
  const chunkCount = gaps.length + 1;
  const dealt = (chunks: number) => Math.floor((chunks * outputTokens) / chunkCount);
  const laterTokens = gapTokens?.reduce((sum, tokens) => sum + tokens, 0) ?? 0;
  visit(firstTokenAt, gapTokens === undefined ? dealt(1) : Math.max(0, outputTokens - laterTokens), undefined);
  let at = firstTokenAt;
  for (let i = 0; i < gaps.length; i++) {
    at += gaps[i]!;
    visit(at, gapTokens?.[i] ?? dealt(i + 2) - dealt(i + 1), gaps[i]!);
  }
}
