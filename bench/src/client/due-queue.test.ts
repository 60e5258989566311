import { expect, test } from "vitest";
import { DueQueue } from "./due-queue.ts";
import { LoadClock } from "./load-clock.ts";

test("runs what is due in the order of its moments, never before them", async () => {
  const seed = 1 + Math.floor(Math.random() * 1e9);
  let state = seed;
  const clock = new LoadClock(process.hrtime.bigint());
  const due = new DueQueue(clock);
  const moments = Array.from({ length: 300 }, () => {
    state = (state * 48271) % 2147483647;
    return (state / 2147483647) * 0.1;
  });
  const ran: number[] = [];
  await new Promise<void>((resolve) => {
    for (const at of moments) {
      due.add(at, () => {
        expect(clock.now(), `seed ${seed}`).toBeGreaterThanOrEqual(at);
        ran.push(at);
        if (ran.length === moments.length) resolve();
      });
    }
  });
  expect(ran, `seed ${seed}`).toEqual([...moments].sort((a, b) => a - b));
  expect(due.size).toBe(0);
});

test("what is added while something runs has its turn, and what is cleared has none", async () => {
  const clock = new LoadClock(process.hrtime.bigint());
  const due = new DueQueue(clock);
  const ran: string[] = [];
  await new Promise<void>((resolve) => {
    due.add(0.002, () => {
      ran.push("first");
      due.add(0.001, () => ran.push("late"));
      due.add(0.01, () => ran.push("cleared"));
      due.add(0.004, () => {
        due.clear();
        ran.push("last");
        setTimeout(resolve, 20);
      });
    });
  });
  expect(ran).toEqual(["first", "late", "last"]);
});

test("a moment that has passed comes at the next turn of the loop", async () => {
  const due = new DueQueue(new LoadClock(process.hrtime.bigint()));
  let hasRun = false;
  const done = new Promise<void>((resolve) => {
    due.add(-1, () => {
      hasRun = true;
      resolve();
    });
  });
  expect(hasRun).toBe(false);
  await done;
  expect(hasRun).toBe(true);
});

test("two clocks of one start tell the same time, in other processes too", () => {
  const start = process.hrtime.bigint();
  const [one, other, earlier] = [start, start, start - 5_000_000_000n].map((moment) => new LoadClock(moment));
  const times = [one!.now(), other!.now(), one!.now(), earlier!.now() - 5, one!.now()];
  // However long each reading took; clocks of one start may differ by what Node's own readings do.
  for (const [i, time] of times.slice(1).entries()) expect(time).toBeGreaterThan(times[i]! - 1e-4);
});
