import { weightBytes } from "@kvant/formats";
import type { CompileOptions, DeviceMemory } from "../backend.ts";
import { lowerPlan } from "../cpu/lowering/lower-plan.ts";
import type { Plan } from "../plan.ts";

/** Workspaces of matrix products and attention, graphs, the sampler, and what the driver takes as kernels load. */
const workspaceReserve = 1.5 * 2 ** 30;
/** Per row slot and vocabulary id: a count of outputs and a flag for the prompt. */
const rowStateBytes = 5;

/** Estimates what a plan takes on a device, before it is compiled there. */
export function planDeviceMemory(
  plan: Plan,
  options: Omit<CompileOptions, "pageCounts">,
  { free, total }: { readonly free: number; readonly total: number },
): DeviceMemory {
  const { maxTokens, maxLogitRows, maxRows } = options;
  const { native } = lowerPlan(plan, { ...options, pageCounts: plan.kvGroups.map(() => 2), backend: "cuda" });
  const slots = new Map<number, number>();
  for (const { slot, width, rows } of native.buffers) {
    const bytes = 4 * width * (rows === "tokens" ? maxTokens : maxLogitRows);
    slots.set(slot, Math.max(slots.get(slot) ?? 0, bytes));
  }
  const weights = plan.weights.map(({ format, rows, cols }) => weightBytes(format, rows, cols));
  return {
    freeBytes: free,
    totalBytes: total,
    weightBytes: weights.reduce((sum, { codes, scales }) => sum + codes + scales, 0),
    activationBytes: [...slots.values()].reduce((sum, bytes) => sum + bytes, 0),
    reserveBytes: workspaceReserve + maxRows * plan.vocabSize * rowStateBytes,
  };
}
