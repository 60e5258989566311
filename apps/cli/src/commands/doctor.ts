import { cpus, totalmem } from "node:os";
import { availableBackends, describeNative } from "@kvant/kernels";
import { megabytes, printRow, table } from "../print.ts";

/** Which backends run here and, for each that does not, why. */
export async function doctor({ json }: { readonly json?: boolean }): Promise<void> {
  const backends = availableBackends().map(({ name, tier, reason }) => ({
    name,
    tier,
    isPresent: reason === undefined,
    reason,
  }));
  const native = describeNative();
  const machine = {
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    processor: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryBytes: totalmem(),
  };
  if (json) {
    printRow({ ...machine, native, backends });
    return;
  }
  const lines = [
    `Node ${machine.node} on ${machine.platform}; ${machine.processor}, ${machine.cores} cores, ${megabytes(machine.memoryBytes)} of memory`,
    native.path === undefined
      ? `native addon: absent\n${native.failure}`
      : `native addon: ${native.path} (${native.compiler}), tier ${native.tier}`,
    table(
      ["backend", "tier", "", "why"],
      backends.map(({ name, tier, isPresent, reason }) => [name, tier, isPresent ? "present" : "absent", reason ?? ""]),
    ),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}
