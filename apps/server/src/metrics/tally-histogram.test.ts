import { Histogram, Registry } from "prom-client";
import { expect, test } from "vitest";
import { TallyHistogram } from "./tally-histogram.ts";

const configuration = { name: "gap_seconds", help: "Gaps.", buckets: [0.001, 0.01, 0.1] };

async function texts(fill: (tally: TallyHistogram, plain: Histogram) => void): Promise<readonly [string, string]> {
  const [ours, theirs] = [new Registry(), new Registry()];
  const tally = new TallyHistogram({ ...configuration, registers: [ours] });
  const plain = new Histogram({ ...configuration, registers: [theirs] });
  fill(tally, plain);
  return [await ours.metrics(), await theirs.metrics()];
}

test("tallied values read as if each had been observed", async () => {
  const [ours, theirs] = await texts((tally, plain) => {
    for (const [value, count] of [
      [0, 1],
      [0.001, 2],
      [0.0011, 1],
      [0.0625, 4],
      [0.1, 1],
      [0.25, 3],
    ] as const) {
      tally.add(value, count);
      for (let i = 0; i < count; i++) plain.observe(value);
    }
  });
  expect(ours).toBe(theirs);
  expect(ours).toContain('gap_seconds_bucket{le="0.01"} 4');
  expect(ours).toContain("gap_seconds_count 12");
});

test("nothing tallied is a histogram of zeros", async () => {
  const [ours, theirs] = await texts(() => undefined);
  expect(ours).toBe(theirs);
});
