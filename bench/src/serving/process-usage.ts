import { readdirSync, readFileSync } from "node:fs";

/** What a process has used since it started. */
export interface ProcessUsage {
  /** Processor seconds of all threads, those that have ended too, in user and in kernel mode. */
  readonly seconds: number;
  /** The living ones. */
  readonly threads: readonly ThreadUsage[];
  readonly peakResidentBytes: number;
}

export interface ThreadUsage {
  readonly id: number;
  /** `main` runs JavaScript; the others go by the name that the system knows them by. */
  readonly name: string;
  readonly userSeconds: number;
  readonly systemSeconds: number;
}

/** Processor seconds of all threads of one name between two readings. */
export interface ThreadShare {
  readonly name: string;
  readonly threadCount: number;
  readonly userSeconds: number;
  readonly systemSeconds: number;
}

/** Linux counts processor time in hundredths of a second here, whatever its own clock. */
const ticksPerSecond = 100;

/** From /proc; undefined where there is none, or no such process. */
export function processUsage(pid: number): ProcessUsage | undefined {
  try {
    const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
    const { userSeconds, systemSeconds } = readStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
    return {
      seconds: userSeconds + systemSeconds,
      threads: readdirSync(`/proc/${pid}/task`).flatMap((task) => threadUsage(pid, Number(task))),
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

/** What the threads spent between two readings, by name, the largest first. What threads spent that have ended goes last. */
export function threadShares(before: ProcessUsage, after: ProcessUsage): readonly ThreadShare[] {
  const earlier = new Map(before.threads.map((thread) => [thread.id, thread]));
  const byName = new Map<string, ThreadShare>();
  for (const { id, name, userSeconds, systemSeconds } of after.threads) {
    const since = earlier.get(id);
    const sum = byName.get(name) ?? { name, threadCount: 0, userSeconds: 0, systemSeconds: 0 };
    byName.set(name, {
      name,
      threadCount: sum.threadCount + 1,
      userSeconds: sum.userSeconds + userSeconds - (since?.userSeconds ?? 0),
      systemSeconds: sum.systemSeconds + systemSeconds - (since?.systemSeconds ?? 0),
    });
  }
  return [...byName.values()].sort((a, b) => secondsOf(b) - secondsOf(a));
}

export function secondsOf({ userSeconds, systemSeconds }: ThreadShare | ThreadUsage): number {
  return userSeconds + systemSeconds;
}

/** None for a thread that ends while it is looked at. */
function threadUsage(pid: number, id: number): readonly ThreadUsage[] {
  try {
    const { name, ...times } = readStat(readFileSync(`/proc/${pid}/task/${id}/stat`, "utf8"));
    // Node's own threads, V8's workers and libuv's pool, keep the name of the thread that started them.
    return [{ id, name: id === pid ? "main" : name, ...times }];
  } catch {
    return [];
  }
}

/** proc(5): field 2, the name, may hold blanks and parentheses; fields 14 and 15 are user and system time. */
export function readStat(text: string): Omit<ThreadUsage, "id"> {
  const end = text.lastIndexOf(")");
  const fields = text.slice(end + 2).split(" ");
  return {
    name: text.slice(text.indexOf("(") + 1, end),
    userSeconds: Number(fields[11]) / ticksPerSecond,
    systemSeconds: Number(fields[12]) / ticksPerSecond,
  };
}
