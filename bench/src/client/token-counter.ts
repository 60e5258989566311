import { KvantError } from "@kvant/core";
import type { CountTokens } from "./answer.ts";

/**
 * Counts with a checkpoint's own tokenizer, without the begin token that it would put before a prompt.
 * @throws KvantError TOKENIZER_ABSENT where the folder has none, and of `loadTokenizer`
 */
export async function tokenCounter(folder: string): Promise<CountTokens> {
  const { loadTokenizer } = await import("@kvant/tokenizer");
  const tokenizer = loadTokenizer(folder);
  if (tokenizer === undefined)
    throw new KvantError("TOKENIZER_ABSENT", `${folder} has no tokenizer.json to count with`);
  return (text) => tokenizer.encode(text, { addBos: false }).length;
}
