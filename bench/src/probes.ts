import { availableBackends, loadAddon } from "@kvant/kernels";
import { median } from "./median.ts";

/** What the machine or its device can do at most, measured beside what is measured on it. */
export interface Probes {
  /** Bytes per second that can be read from memory. */
  readonly read: () => number;
  /** Operations per second of the multipliers that matrix products with such activations run on; a multiply-add is two. */
  readonly compute: (activations: ComputeKind) => number;
}

export const computeKinds = ["fp32", "bf16", "fp16", "int8", "e4m3"] as const;
export type ComputeKind = (typeof computeKinds)[number];

/** Caches hold a small part of this. */
const defaultProbeBytes = 2 ** 30;
const repeats = 3;
const deviceRepeats = 9;

export interface ProbedTarget {
  /** `cpu`, `cuda`, `cuda:N` or `reference`. */
  readonly device: string;
  /** On the CPU. */
  readonly threads: number;
  readonly tier: string;
  /** What the read probe reads; default 1 GiB. */
  readonly probeBytes?: number;
}

/** Probes of a device; undefined without the addon, which holds them. */
export function probesOf({ device, threads, tier, probeBytes = defaultProbeBytes }: ProbedTarget): Probes | undefined {
  const hasAddon = availableBackends().some(({ name, create }) => name.startsWith("cpu") && create !== undefined);
  if (!hasAddon) return undefined;
  const addon = loadAddon();
  if (device.startsWith("cuda")) {
    return {
      read: () => median(addon.probeDeviceRead(device, probeBytes, deviceRepeats)),
      compute: (kind) => median(addon.probeDeviceMatmul(device, kind, deviceRepeats)),
    };
  }
  const nativeTier = device === "reference" ? "" : tier;
  return {
    read: () => median(addon.probeRead(probeBytes, threads, repeats)),
    compute: (kind) => {
      const multipliers = kind === "int8" ? "int8" : "float32";
      return median(addon.probeCompute(multipliers, nativeTier, threads, repeats));
    },
  };
}
