import { KvantError } from "@kvant/core";
import type { Backend, CompileOptions } from "../backend.ts";
import type { Plan } from "../plan.ts";
import { CpuExecutable } from "./cpu-executable.ts";
import { loadAddon } from "./load-addon.ts";
import type { NativeAddon, NativeInfo } from "./native-addon.ts";
import { callNative } from "./native-error.ts";

export interface CpuBackendOptions {
  /** Compute threads, the step thread included; the number of cores by default. */
  readonly threads?: number | undefined;
  /** Instruction tier, such as `avx2`; by default the best present, or what the environment variable KVANT_CPU_TIER names. */
  readonly tier?: string | undefined;
}

/**
 * The native CPU backend.
 * @throws KvantError NATIVE_NOT_FOUND without an addon, BACKEND_UNAVAILABLE for a tier that this machine or build lacks
 */
export function createCpuBackend(options: CpuBackendOptions = {}): Backend {
  return cpuBackend(loadAddon(), options);
}

/** What the addon says about this machine. @throws KvantError NATIVE_NOT_FOUND */
export function nativeInfo(): NativeInfo {
  const addon = loadAddon();
  return callNative(() => addon.info());
}

/** Why a tier is absent; undefined where it is present. */
export function tierAbsence(
  { tiers, refusedTiers }: Pick<NativeInfo, "tiers" | "refusedTiers">,
  tier: string,
): string | undefined {
  if (tiers.includes(tier)) return undefined;
  return refusedTiers[tier] ?? `this machine and build have ${tiers.join(", ")}`;
}

function cpuBackend(addon: NativeAddon, options: CpuBackendOptions): Backend {
  const { threads, tier } = resolveCpuOptions(addon, options);
  return {
    info: { name: "cpu", tier, threads, arithmetic: "exact" },
    compile: (plan: Plan, compileOptions: CompileOptions) =>
      new CpuExecutable(addon, plan, compileOptions, { device: "cpu", threads, tier, deterministic: 0 }),
  };
}

/**
 * The options with the machine's values where they name none.
 * @throws KvantError BACKEND_UNAVAILABLE for a tier that this machine or build lacks, INVALID_ARGUMENT
 */
export function resolveCpuOptions(
  addon: NativeAddon,
  options: CpuBackendOptions,
): { readonly threads: number; readonly tier: string } {
  const info = callNative(() => addon.info());
  const tier = options.tier ?? info.tier;
  const absence = tierAbsence(info, tier);
  if (absence !== undefined) {
    throw new KvantError("BACKEND_UNAVAILABLE", `there is no CPU tier "${tier}" here: ${absence}`);
  }
  const threads = options.threads ?? info.cores;
  if (!Number.isInteger(threads) || threads < 1) {
    throw new KvantError("INVALID_ARGUMENT", `threads is a positive integer, not ${threads}`, { field: "threads" });
  }
  return { threads, tier };
}
