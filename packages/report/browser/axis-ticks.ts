import type { DrawnAxis } from "../src/plots/drawing.ts";

/** Distances between ticks of a count. */
export const wholeSteps: number[] = Array.from({ length: 12 }, (_, exponent) =>
  [1, 2, 5].map((digit) => digit * 10 ** exponent),
).flat();

// Over more decades only powers of ten have a line of the grid.
const finelyTickedDecades = 2;

/**
 * Ticks of a logarithmic axis: 1 to 9 times the powers of ten between its ends, or evenly spaced ones where these would be
 * few. uPlot's own begin at the lower end whatever it is, and run for ever where adding their step is lost in rounding.
 */
export function logTicks({ low, high }: DrawnAxis): number[] {
  if (high / low < 3) return evenTicks(low, high);
  const digits = Math.log10(high / low) > finelyTickedDecades ? [1] : [1, 2, 3, 4, 5, 6, 7, 8, 9];
  const ticks: number[] = [];
  for (let exponent = Math.floor(Math.log10(low)); 10 ** exponent <= high; exponent++) {
    for (const digit of digits) ticks.push(Number(`${digit}e${exponent}`));
  }
  return ticks.filter((tick) => tick >= low && tick <= high);
}

function evenTicks(low: number, high: number): number[] {
  const least = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= least)!;
  const first = Math.ceil(low / step);
  // Products and not sums, so that errors do not add up.
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(12)),
  );
}

// Room that a label needs along its axis, in CSS pixels.
const room = { x: 52, y: 18 };

/** The ticks that get a label, the others as null: powers of ten first, then 5 and 2, then the rest where there is room. */
export function readableTicks(
  ticks: readonly number[],
  position: (tick: number) => number,
  side: "x" | "y",
): (number | null)[] {
  const digit = (tick: number): number => Math.round(tick / 10 ** Math.floor(Math.log10(tick) + 1e-9));
  const rank = (tick: number): number => ({ 1: 0, 5: 1, 2: 2 })[digit(tick)] ?? 3;
  const kept: number[] = [];
  for (const tick of [...ticks].sort((a, b) => rank(a) - rank(b) || a - b)) {
    if (kept.every((other) => Math.abs(position(tick) - position(other)) >= room[side])) kept.push(tick);
  }
  return ticks.map((tick) => (kept.includes(tick) ? tick : null));
}
