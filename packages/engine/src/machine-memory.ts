import { totalmem } from "node:os";

/** Bytes of memory that this process may use: the machine's, or less where a container bounds it. */
export function machineMemory(total = totalmem(), bound: number | undefined = process.constrainedMemory()): number {
  // Without a bound Node answers 0, undefined or a number beyond any machine's memory.
  return bound === undefined || bound <= 0 ? total : Math.min(total, bound);
}
