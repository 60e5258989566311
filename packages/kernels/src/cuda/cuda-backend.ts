import { KvantError } from "@kvant/core";
import type { Backend, CompileOptions } from "../backend.ts";
import { nativeInfo } from "../cpu/cpu-backend.ts";
import { CpuExecutable } from "../cpu/cpu-executable.ts";
import { loadAddon } from "../cpu/load-addon.ts";
import { callNative } from "../cpu/native-error.ts";
import type { Plan } from "../plan.ts";
import { DeviceCalibration } from "./device-calibration.ts";
import { planDeviceMemory } from "./device-memory.ts";

export interface CudaBackendOptions {
  /** `cuda` (the first device) or `cuda:N`. */
  readonly device?: string | undefined;
  /** Only batch-invariant kernels: a sequence's bits do not depend on its batch. Off by default, which is faster. */
  readonly deterministic?: boolean | undefined;
}

/**
 * The CUDA backend: the addon's kernels on one NVIDIA GPU.
 * @throws KvantError NATIVE_NOT_FOUND without an addon, BACKEND_UNAVAILABLE with the reason when the device is absent
 */
export function createCudaBackend(options: CudaBackendOptions = {}): Backend {
  const { device = "cuda", deterministic = false } = options;
  const reason = cudaAbsence();
  if (reason !== undefined) {
    throw new KvantError("BACKEND_UNAVAILABLE", `device ${device} is absent: ${reason}`, { field: "device" });
  }
  const addon = loadAddon();
  const tier = callNative(() => addon.cudaDevice(device));
  const target = { device, threads: 1, tier: "", deterministic: deterministic ? 1 : 0 };
  return {
    info: { name: "cuda", tier, threads: 1, arithmetic: deterministic ? "exact" : "tensor-cores" },
    deviceMemory: (plan, compileOptions) =>
      planDeviceMemory(
        plan,
        compileOptions,
        callNative(() => addon.cudaMemory(device)),
      ),
    calibration: {
      absence: () => callNative(() => addon.cublasltAbsence()),
      create: (calibrationOptions) => DeviceCalibration.create(addon, device, calibrationOptions),
    },
    compile: (plan: Plan, compileOptions: CompileOptions) => new CpuExecutable(addon, plan, compileOptions, target),
  };
}

/** Why no CUDA device can be used here; undefined when one can. */
export function cudaAbsence(): string | undefined {
  try {
    return nativeInfo().cudaAbsent;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
