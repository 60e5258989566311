import { KvantError } from "@kvant/core";
import { type ActivationObserver, checkBatch, type StaticScaleFormat } from "./observers/activation-observer.ts";
import { minMaxObserver } from "./observers/observers.ts";

/** Static scales of one layer's keys or values. */
export interface StaticKvScales {
  readonly perHead: Float32Array; // [kvHeads]
  readonly perTensor: number;
}

/** Watches the keys and values that one layer writes to its cache. */
export interface KvCalibration {
  /**
   * @throws KvantError INVALID_ARGUMENT if a length does not match the shape or a value is NaN or infinite
   */
  observe(
    k: Float32Array, // [tokens, kvHeads, headDim], after RoPE, as stored
    v: Float32Array, // [tokens, kvHeads, headDim]
    tokens: number,
  ): void;
  /**
   * @throws KvantError INVALID_ARGUMENT if nothing was observed
   */
  scales(format: StaticScaleFormat): { readonly k: StaticKvScales; readonly v: StaticKvScales };
}

/**
 * Static KV scales by calibration: per head, and one for all heads (`k_scale` and `v_scale` of a checkpoint), each the choice
 * of an observer of its own. A head's scale under the default observer is `max|x| / max code`, so that nothing seen clips.
 * @throws KvantError INVALID_ARGUMENT if a size is not a positive integer
 */
export function kvCalibration(
  kvHeads: number,
  headDim: number,
  createObserver: () => ActivationObserver = minMaxObserver,
): KvCalibration {
  for (const size of [kvHeads, headDim]) {
    if (!Number.isSafeInteger(size) || size < 1) {
      throw new KvantError("INVALID_ARGUMENT", `[${kvHeads}, ${headDim}] is not a shape of heads`);
    }
  }
  const [k, v] = [headObservers(kvHeads, headDim, createObserver), headObservers(kvHeads, headDim, createObserver)];
  return {
    observe(keys, values, tokens) {
      checkBatch(keys, tokens, kvHeads * headDim);
      checkBatch(values, tokens, kvHeads * headDim);
      k.observe(keys, tokens);
      v.observe(values, tokens);
    },
    scales: (format) => ({ k: k.scales(format), v: v.scales(format) }),
  };
}

function headObservers(kvHeads: number, headDim: number, createObserver: () => ActivationObserver) {
  const heads = Array.from({ length: kvHeads }, createObserver);
  const tensor = createObserver();
  return {
    observe(x: Float32Array, tokens: number): void {
      tensor.observe(x, tokens, kvHeads * headDim);
      const part = new Float32Array(tokens * headDim);
      heads.forEach((observer, head) => {
        for (let token = 0; token < tokens; token++) {
          const start = (token * kvHeads + head) * headDim;
          part.set(x.subarray(start, start + headDim), token * headDim);
        }
        observer.observe(part, tokens, headDim);
      });
    },
    scales: (format: StaticScaleFormat): StaticKvScales => ({
      perHead: Float32Array.from(heads, (observer) => observer.scale(format)),
      perTensor: tensor.scale(format),
    }),
  };
}
