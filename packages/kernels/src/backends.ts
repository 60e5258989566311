import { KvantError } from "@kvant/core";
import type { Backend } from "./backend.ts";
import { type CpuBackendOptions, createCpuBackend, nativeInfo } from "./cpu/cpu-backend.ts";
import { createReferenceBackend } from "./reference/reference-backend.ts";

/** A backend or CPU tier that is here, or why it is not. */
export type BackendPresence =
  | { readonly name: string; readonly create: (options?: CpuBackendOptions) => Backend; readonly reason: undefined }
  | { readonly name: string; readonly create: undefined; readonly reason: string };

// Every tier that some build of the addon has, whatever machine this is.
const cpuTiers = ["avx512vnni", "avxvnni", "avx2", "neon", "scalar"] as const;

/** Every backend and tier that Kvant knows, each absent one with its reason. */
export function availableBackends(): readonly BackendPresence[] {
  return [
    { name: "reference", create: createReferenceBackend, reason: undefined },
    ...cpuTiers.map(tierPresence),
    { name: "cuda", create: undefined, reason: `cuda is absent: ${cudaReason()}` },
  ];
}

/**
 * A backend by its device name: `reference`, `cpu`, `cuda` or `cuda:N`.
 * @throws KvantError BACKEND_UNAVAILABLE with the reason, NATIVE_NOT_FOUND, INVALID_ARGUMENT for other names
 */
export function createBackend(device: string, options: CpuBackendOptions = {}): Backend {
  if (device === "reference") return createReferenceBackend();
  if (device === "cpu") return createCpuBackend(options);
  if (/^cuda(:\d+)?$/.test(device)) {
    throw new KvantError("BACKEND_UNAVAILABLE", `device ${device} is absent: ${cudaReason()}`, { field: "device" });
  }
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
  const reason = tierAbsence(tier);
  if (reason !== undefined) return { name, create: undefined, reason: `${name} is absent: ${reason}` };
  return { name, create: (options = {}) => createCpuBackend({ ...options, tier }), reason: undefined };
}

function tierAbsence(tier: string): string | undefined {
  try {
    const { tiers } = nativeInfo();
    return tiers.includes(tier) ? undefined : `this machine and build have ${tiers.join(", ")}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function cudaReason(): string {
  try {
    return nativeInfo().cudaAbsent ?? "the addon sees a device, but this release has no CUDA backend";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
