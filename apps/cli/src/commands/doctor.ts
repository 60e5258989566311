import { cpus, totalmem } from "node:os";
import { availableBackends, cudaAbsence, loadAddon, type NativeInfo, nativeInfo } from "@kvant/kernels";
import { megabytes, printRow, table } from "../print.ts";

function native(): { readonly info: NativeInfo | undefined; readonly failure: string | undefined } {
  try {
    return { info: nativeInfo(), failure: undefined };
  } catch (error) {
    return { info: undefined, failure: error instanceof Error ? error.message : String(error) };
  }
}

interface CudaDevice {
  readonly name: string;
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** Why products of many tokens run on our own kernels alone; null where cuBLASLt is there. */
  readonly cublasltAbsent: string | null;
}

/** The first device; undefined where CUDA is absent. */
function cudaDevice(): CudaDevice | undefined {
  if (cudaAbsence() !== undefined) return undefined;
  const addon = loadAddon();
  const { free, total } = addon.cudaMemory("cuda");
  const cublasltAbsent = addon.cublasltAbsence() ?? null;
  return { name: addon.cudaDevice("cuda"), freeBytes: free, totalBytes: total, cublasltAbsent };
}

/** Which backends run here and, for each that does not, why. */
export async function doctor({ json }: { readonly json?: boolean }): Promise<void> {
  const backends = availableBackends().map(({ name, reason }) => ({ name, isPresent: reason === undefined, reason }));
  const machine = {
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    processor: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryBytes: totalmem(),
  };
  const { info, failure } = native();
  const cuda = cudaDevice();
  if (json) {
    printRow({ ...machine, native: info ?? null, nativeFailure: failure ?? null, cuda: cuda ?? null, backends });
    return;
  }
  const lines = [
    `Node ${machine.node} on ${machine.platform}; ${machine.processor}, ${machine.cores} cores, ${megabytes(machine.memoryBytes)} of memory`,
    info === undefined
      ? `native addon: absent; models run only on --backend reference\n${failure}`
      : `native addon: built with ${info.compiler}; tier ${info.tier} in force, present: ${info.tiers.join(", ")}`,
    ...(cuda === undefined
      ? []
      : [
          `device cuda: ${cuda.name}; ${megabytes(cuda.freeBytes)} of ${megabytes(cuda.totalBytes)} free`,
          `cuBLASLt: ${cuda.cublasltAbsent ?? "there"}`,
        ]),
    table(
      ["backend", "", "why"],
      backends.map(({ name, isPresent, reason }) => [name, isPresent ? "present" : "absent", reason ?? ""]),
    ),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}
