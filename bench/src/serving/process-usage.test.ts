import { expect, test } from "vitest";
import { type ProcessUsage, processUsage, readStat, threadShares } from "./process-usage.ts";

test("a thread's name may hold blanks and parentheses", () => {
  const stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 11 0 1000";
  expect(readStat(stat)).toEqual({ name: "a (b) c", userSeconds: 2.5, systemSeconds: 0.5 });
});

test("threads of one name are counted together, from the first reading on, the largest first", () => {
  const thread = (id: number, name: string, userSeconds: number, systemSeconds = 0) => ({
    id,
    name,
    userSeconds,
    systemSeconds,
  });
  const reading = (threads: ProcessUsage["threads"]): ProcessUsage => ({ seconds: 0, threads, peakResidentBytes: 0 });
  const before = reading([thread(1, "main", 10, 1), thread(2, "node", 3)]);
  const after = reading([thread(1, "main", 11, 3), thread(2, "node", 3.5), thread(3, "node", 4, 1)]);
  expect(threadShares(before, after)).toEqual([
    { name: "node", threadCount: 2, userSeconds: 4.5, systemSeconds: 1 },
    { name: "main", threadCount: 1, userSeconds: 1, systemSeconds: 2 },
  ]);
});

test.skipIf(process.platform !== "linux")("this process has one main thread, which has spent time", () => {
  const usage = processUsage(process.pid);
  const main = usage?.threads.filter(({ name }) => name === "main") ?? [];
  expect(main).toHaveLength(1);
  expect(usage?.seconds).toBeGreaterThan(0);
});
