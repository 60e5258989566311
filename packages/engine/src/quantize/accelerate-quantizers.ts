import { nativeQuantizeMath } from "@kvant/kernels";
import { accelerate } from "@kvant/quantizers";

/** What quantizers in this process compute with. */
export type QuantizerSpeed =
  | { readonly native: true; readonly tier: string; readonly threads: number }
  | { readonly native: false; readonly reason: string };

/**
 * Lets the quantizers of this process compute natively where the addon is there, on `threads` threads (default: one per core),
 * and says what it found. Results have the same bits either way.
 * @throws KvantError BACKEND_UNAVAILABLE if KVANT_CPU_TIER names a tier that is not here, INVALID_ARGUMENT for no threads
 */
export function accelerateQuantizers(threads?: number): QuantizerSpeed {
  const { math, reason } = nativeQuantizeMath({ threads });
  if (math === undefined) return { native: false, reason };
  accelerate(math);
  return { native: true, tier: math.tier, threads: math.threads };
}
