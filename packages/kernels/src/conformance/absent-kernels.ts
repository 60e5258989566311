import type { BackendInfo } from "../backend.ts";
import type { ActivationScheme } from "../plan.ts";

/** Backends that have no kernel for what a check needs, each with the reason; they skip it aloud. */
export type AbsentKernels = Partial<Readonly<Record<BackendInfo["name"], string>>>;

/** The lowering refuses these by the name of the weight (`native-weight.ts`). */
export function absentKernels({ format }: ActivationScheme): AbsentKernels {
  return format === "e4m3" ? { cpu: "the cpu backend has no kernel for e4m3 activations" } : {};
}
