import { pageLayout, weightBytes } from "@kvant/formats";
import type { Plan } from "@kvant/kernels";

/**
 * Bytes that one decode step must read at least: every code and scale of the matrices once, one embedding row per
 * sequence, and the stored K and V of every live position of every sequence.
 * @param batch sequences in the step
 * @param context live tokens per sequence
 */
export function decodeStepBytes(plan: Plan, batch: number, context: number, pageTokens: number): number {
  let bytes = 0;
  for (const weight of plan.weights) {
    const { codes, scales } = weightBytes(weight.format, weight.rows, weight.cols);
    bytes += weight.class === "embedding" ? (batch * (codes + scales)) / weight.rows : codes + scales;
  }
  for (const group of plan.kvGroups) {
    const { codeBytes, scaleBytes } = pageLayout({ ...group, pageTokens, scales: group.scales.kind });
    const live = group.window === undefined ? context : Math.min(context, group.window);
    // Both K and V, in every layer.
    bytes += (2 * group.layerCount * batch * live * (codeBytes + scaleBytes)) / pageTokens;
  }
  return bytes;
}
