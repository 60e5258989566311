import { spawnSync } from "node:child_process";
import { KvantError } from "@kvant/core";
import type { MachineFacts } from "../load/load-result.ts";

/** As `kvant doctor` tells of the machine. */
export interface Machine {
  readonly facts: MachineFacts;
  readonly node: string;
}

/**
 * Asks `kvant doctor` in a process of its own: a CUDA context in this one would keep the driver awake, and the servers that are
 * measured would start faster than they do alone.
 * @throws KvantError INTERNAL if it fails
 */
export function readMachine(entry: string): Machine {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...process.execArgv, entry, "doctor", "--json"], {
    encoding: "utf8",
  });
  if (status !== 0) throw new KvantError("INTERNAL", `kvant doctor ended with ${status}; it said: ${stderr.trim()}`);
  const { node, platform, processor, cores, memoryBytes, cuda } = JSON.parse(stdout);
  return {
    facts: { cpu: processor, cores, memoryBytes, platform, accelerators: cuda === null ? [] : [cuda.name] },
    node,
  };
}
