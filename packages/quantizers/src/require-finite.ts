import { KvantError } from "@kvant/core";
import { acceleration } from "./acceleration.ts";

/**
 * Refuses values that no scale can be chosen for. One infinity would take all resolution from its group, and NaN would turn
 * into a weight of 0.
 * @param name what the error calls the values, usually a tensor's name
 * @throws KvantError WEIGHT_NOT_FINITE with the index and the value of the first one
 */
export function requireFinite(values: Float32Array, name: string): void {
  if (acceleration().allFinite?.(values) === true) return;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    // The difference is 0 for finite numbers and NaN for all others.
    if (value - value === 0) continue;
    throw new KvantError("WEIGHT_NOT_FINITE", `"${name}": element ${i} is ${value}; weights are finite numbers`, {
      field: name,
    });
  }
}
