import { accelerateQuantizers } from "@kvant/engine";
import { say } from "./print.ts";

/**
 * Lets the quantizers of this process compute natively, and says so where they cannot.
 * @throws what `accelerateQuantizers` throws
 */
export function accelerate(threads: number | undefined): void {
  const speed = accelerateQuantizers(threads);
  if (!speed.native) say(`matrices are worked on in plain TypeScript, which is slower: ${speed.reason}`);
}
