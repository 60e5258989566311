import { invalidOption } from "./invalid-option.ts";
import { shown } from "./json-values.ts";
import type { RandomSource } from "./random-source.ts";

/**
 * How long apart requests come, at a mean of one per unit of time: `constant` evenly; `gamma` as vLLM has it, where the shape is
 * its burstiness: 1 is a Poisson process, less comes in bursts, more comes evenly. The gaps' coefficient of variation is
 * 1 / sqrt(burstiness). (vLLM also stretches its drawn gaps so that the last request comes at requests / rate. Not here: that
 * bends the distribution, and the rate that came about is in the report.)
 */
export type ArrivalPattern =
  | { readonly kind: "constant" }
  | { readonly kind: "poisson" }
  | { readonly kind: "gamma"; readonly burstiness: number };

/**
 * Arrivals per second: fixed, or linear over some seconds, from the start of the load or after a delay at the first rate, and then
 * as at the end of them.
 */
export type ArrivalRate =
  | { readonly kind: "fixed"; readonly rate: number }
  | {
      readonly kind: "ramp";
      readonly from: number;
      readonly to: number;
      readonly seconds: number;
      readonly delaySeconds?: number;
    };

/** Below it a gap is mostly zeros and a few ages; above it the gaps are even to a tenth of a percent. */
const burstinessRange = [0.001, 1e6] as const;

/**
 * `constant`, `poisson` or `gamma:BURSTINESS`.
 * @throws KvantError INVALID_ARGUMENT
 */
export function parseArrivalPattern(text: string): ArrivalPattern {
  if (text === "constant" || text === "poisson") return { kind: text };
  const [low, high] = burstinessRange;
  const burstiness = Number(/^gamma:(\d+(?:\.\d+)?)$/.exec(text)?.[1] ?? Number.NaN);
  if (burstiness >= low && burstiness <= high) return { kind: "gamma", burstiness };
  const sentence = `arrival is ${shown(text)}; give closed, constant, poisson, trace or gamma:BURSTINESS`;
  throw invalidOption("arrival", `${sentence}, the burstiness from ${low} to ${high}`);
}

/**
 * Seconds after the start of the load, ascending; without end unless a ramp leads down to nothing. Under a ramp the pattern is
 * kept in the time in which the rate is one: the n-th arrival of the pattern, at u_n, comes when the rate's integral
 * a t + (b - a) t^2 / 2S has reached u_n. A Poisson process so becomes the inhomogeneous one of that rate.
 */
export function* arrivalTimes(
  pattern: ArrivalPattern,
  rate: ArrivalRate,
  random: RandomSource,
): Generator<number, void> {
  let elapsed = 0;
  for (let i = 0; ; i++) {
    // An even load begins at once; a random one with a gap, as its process has it.
    elapsed = pattern.kind === "constant" ? i : elapsed + unitGap(pattern, random);
    const seconds = rate.kind === "fixed" ? elapsed / rate.rate : rampTime(rate, elapsed);
    if (seconds === undefined) return;
    yield seconds;
  }
}

function unitGap(pattern: Exclude<ArrivalPattern, { kind: "constant" }>, random: RandomSource): number {
  if (pattern.kind === "poisson") return random.exponential();
  return random.gamma(pattern.burstiness) / pattern.burstiness;
}

/** Solves a t + (b - a) t^2 / 2S = count for t, in the form that does not cancel for a small slope. */
function rampTime(rate: ArrivalRate & { kind: "ramp" }, elapsed: number): number | undefined {
  const { from, to, seconds, delaySeconds = 0 } = rate;
  const count = elapsed - from * delaySeconds;
  if (count < 0) return elapsed / from;
  const onRamp = ((from + to) / 2) * seconds;
  if (count >= onRamp) return to === 0 ? undefined : delaySeconds + seconds + (count - onRamp) / to;
  if (count === 0) return delaySeconds;
  const slope = (to - from) / seconds;
  return delaySeconds + (2 * count) / (from + Math.sqrt(Math.max(0, from ** 2 + 2 * slope * count)));
}

/** `4 requests/s, poisson`, `1 to 10 requests/s over 60 s, gamma of burstiness 0.5`. */
export function describeArrivals(pattern: ArrivalPattern, rate: ArrivalRate): string {
  const speed = rate.kind === "fixed" ? `${rate.rate}` : `${rate.from} to ${rate.to}`;
  const time = rate.kind === "fixed" ? "" : ` over ${rounded(rate.seconds)} s${afterDelay(rate)}`;
  const gaps = pattern.kind === "gamma" ? `gamma of burstiness ${pattern.burstiness}` : pattern.kind;
  return `${speed} requests/s${time}, ${gaps}`;
}

function afterDelay({ from, delaySeconds = 0 }: ArrivalRate & { kind: "ramp" }): string {
  return delaySeconds === 0 ? "" : ` after ${rounded(delaySeconds)} s at ${from}`;
}

function rounded(seconds: number): number {
  return Number(seconds.toFixed(3));
}
