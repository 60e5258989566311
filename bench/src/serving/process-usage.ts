import { readdirSync, readFileSync } from "node:fs";

/** What a process has used since it started. */
export interface ProcessUsage {
  /** Processor seconds of all threads, in user and in kernel mode. */
  readonly seconds: number;
  /** The same of the thread that runs JavaScript. */
  readonly mainThreadSeconds: number;
  readonly peakResidentBytes: number;
}

/** Linux counts processor time in hundredths of a second here, whatever its own clock. */
const ticksPerSecond = 100;

/** From /proc; undefined where there is none, or no such process. */
export function processUsage(pid: number): ProcessUsage | undefined {
  try {
    const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
    return {
      seconds: ticks(`/proc/${pid}/stat`) / ticksPerSecond,
      mainThreadSeconds: ticks(`/proc/${pid}/task/${pid}/stat`) / ticksPerSecond,
      peakResidentBytes: peak === null ? 0 : Number(peak[1]) * 1024,
    };
  } catch {
    return undefined;
  }
}

/** Processes that a process has started; empty where /proc does not tell. */
export function childProcesses(pid: number): readonly number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").split(" ").filter(Boolean).map(Number),
    );
  } catch {
    return [];
  }
}

/** proc(5): fields 14 and 15 are user and system time; field 2, the name, may hold blanks and parentheses. */
function ticks(path: string): number {
  const text = readFileSync(path, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}
