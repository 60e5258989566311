import { KvantError } from "@kvant/core";
import { formats } from "@kvant/formats";

/** Formats with static activation or KV scales. */
export type StaticScaleFormat = "int8" | "e4m3" | "e5m2";

/**
 * Watches what flows into a layer over calibration, and then names one static scale for it. Memory does not grow with what is
 * observed, and the same batches in the same order give the same scale.
 */
export interface ActivationObserver {
  /**
   * @throws KvantError INVALID_ARGUMENT if the length does not match the shape or a value is NaN or infinite
   */
  observe(x: Float32Array /* [tokens, width] */, tokens: number, width: number): void;
  /**
   * What a code is multiplied by: a positive number, 1 if all values were 0.
   * @throws KvantError INVALID_ARGUMENT if nothing was observed
   */
  scale(format: StaticScaleFormat): number;
}

/** The scale that maps `clip` onto the largest code, `fround(clip / max)`. What is 0, or has no scale in float32, gets 1. */
export function clipScale(clip: number, format: StaticScaleFormat): number {
  const scale = Math.fround(clip / formats[format].max);
  return scale > 0 ? scale : 1;
}

/**
 * The largest magnitude of a batch.
 * @throws KvantError INVALID_ARGUMENT if the length does not match the shape or a value is NaN or infinite
 */
export function batchMaximum(x: Float32Array, tokens: number, width: number): number {
  checkBatch(x, tokens, width);
  let largest = 0;
  for (let i = 0; i < x.length; i++) {
    const magnitude = Math.abs(x[i]!);
    if (!(magnitude < Infinity)) {
      const [token, channel] = [Math.floor(i / width), i % width];
      throw new KvantError("INVALID_ARGUMENT", `the activation of token ${token} in channel ${channel} is ${x[i]}`);
    }
    if (magnitude > largest) largest = magnitude;
  }
  return largest;
}

export function checkBatch(x: Float32Array, tokens: number, width: number): void {
  if (x.length !== tokens * width) {
    throw new KvantError("INVALID_ARGUMENT", `${x.length} activations are not [${tokens}, ${width}]`);
  }
}

export function nothingObserved(): KvantError {
  return new KvantError("INVALID_ARGUMENT", "a static scale needs at least one observed activation");
}
