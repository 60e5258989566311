import { KvantError } from "@kvant/core";
import type { Backend } from "./backend.ts";
import { type CpuBackendOptions, createCpuBackend, nativeInfo, tierAbsence } from "./cpu/cpu-backend.ts";
import { type CudaBackendOptions, createCudaBackend, cudaAbsence } from "./cuda/cuda-backend.ts";
import { createReferenceBackend } from "./reference/reference-backend.ts";

/** Options of every native backend; each takes what it knows. */
export interface BackendOptions extends CpuBackendOptions, CudaBackendOptions {}

/** A backend or CPU tier that is here, or why it is not. */
export type BackendPresence =
  | { readonly name: string; readonly create: (options?: BackendOptions) => Backend; readonly reason: undefined }
  | { readonly name: string; readonly create: undefined; readonly reason: string };

// Every tier that some build of the addon has, whatever machine this is.
const cpuTiers = ["amx", "avx512vnni", "avxvnni", "avx2", "neon", "scalar"] as const;

/** Every backend and tier that Kvant knows, each absent one with its reason. */
export function availableBackends(): readonly BackendPresence[] {
  return [
    { name: "reference", create: createReferenceBackend, reason: undefined },
    ...cpuTiers.map(tierPresence),
    cudaPresence(),
  ];
}

/**
 * A backend by its device name: `reference`, `cpu`, `cuda` or `cuda:N`.
 * @throws KvantError BACKEND_UNAVAILABLE with the reason, NATIVE_NOT_FOUND, INVALID_ARGUMENT for other names
 */
export function createBackend(device: string, options: BackendOptions = {}): Backend {
  if (device === "reference") return createReferenceBackend();
  if (device === "cpu") return createCpuBackend(options);
  if (/^cuda(:\d+)?$/.test(device)) return createCudaBackend({ ...options, device });
  throw new KvantError(
    "INVALID_ARGUMENT",
    `no device is called "${device}"; there are cpu, cuda, cuda:N and reference`,
    {
      field: "device",
    },
  );
}

function tierPresence(tier: string): BackendPresence {
  const name = `cpu ${tier}`;
  const reason = tierReason(tier);
  if (reason !== undefined) return { name, create: undefined, reason: `${name} is absent: ${reason}` };
  return { name, create: (options = {}) => createCpuBackend({ ...options, tier }), reason: undefined };
}

function tierReason(tier: string): string | undefined {
  try {
    return tierAbsence(nativeInfo(), tier);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The conformance suite holds CUDA to batch invariance, which only its deterministic kernels promise. */
function cudaPresence(): BackendPresence {
  const reason = cudaAbsence();
  if (reason !== undefined) return { name: "cuda", create: undefined, reason: `cuda is absent: ${reason}` };
  return { name: "cuda", create: (options = {}) => createCudaBackend({ deterministic: true, ...options }), reason };
}
