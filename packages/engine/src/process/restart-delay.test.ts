import { expect, test } from "vitest";
import { RestartDelay } from "./restart-delay.ts";

test("deaths in a row wait 0, 1, 2, 4 ... 30 seconds", () => {
  const delay = new RestartDelay();
  delay.ready(0);
  const waits = Array.from({ length: 8 }, () => delay.died(10));
  expect(waits).toEqual([0, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
});

test("a minute of service starts the waits over", () => {
  const delay = new RestartDelay();
  for (let i = 0; i < 4; i++) delay.died(i);
  delay.ready(100);
  expect(delay.died(60_100)).toBe(0);
  expect(delay.died(60_200)).toBe(1000);
});

test("an engine that was healthy and then cannot load is not started again without pause", () => {
  const delay = new RestartDelay();
  delay.ready(0);
  expect([delay.died(100_000), delay.died(100_500), delay.died(103_000)]).toEqual([0, 1000, 2000]);
});
