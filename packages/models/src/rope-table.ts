import type { RopeConfig } from "@kvant/checkpoint";
import type { RopeTable } from "@kvant/kernels";

/** The frequencies of a rotary embedding for heads of `headDim` values, by the formulas named at `RopeConfig`. */
export function ropeTable(rope: RopeConfig, headDim: number): RopeTable {
  const base = Float64Array.from({ length: headDim / 2 }, (_, i) => rope.theta ** ((-2 * i) / headDim));
  switch (rope.kind) {
    case "default":
      return { inverseFrequencies: Float32Array.from(base), magnitude: 1 };
    case "linear":
      return { inverseFrequencies: Float32Array.from(base, (f) => f / rope.factor), magnitude: 1 };
    case "llama3":
      return { inverseFrequencies: Float32Array.from(base, (f) => llama3Frequency(f, rope)), magnitude: 1 };
    case "yarn":
      return { inverseFrequencies: yarnFrequencies(base, rope), magnitude: rope.attentionFactor };
    default:
      return rope satisfies never;
  }
}

// `turns`: how often the pair turns over the original context. Slow pairs are stretched, fast ones kept.
function llama3Frequency(frequency: number, rope: Extract<RopeConfig, { kind: "llama3" }>): number {
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalContextLength } = rope;
  const turns = (originalContextLength * frequency) / (2 * Math.PI);
  if (turns < lowFrequencyFactor) return frequency / factor;
  if (turns > highFrequencyFactor) return frequency;
  const blend = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
  return (1 - blend) * (frequency / factor) + blend * frequency;
}

function yarnFrequencies(base: Float64Array, rope: Extract<RopeConfig, { kind: "yarn" }>): Float32Array {
  const { theta, factor, originalContextLength, betaFast, betaSlow } = rope;
  const headDim = 2 * base.length;
  // The (fractional) pair that turns `count` times over the original context.
  const pairOfTurns = (count: number) =>
    (headDim * Math.log(originalContextLength / (count * 2 * Math.PI))) / (2 * Math.log(theta));
  const low = Math.max(Math.floor(pairOfTurns(betaFast)), 0);
  const high = Math.min(Math.ceil(pairOfTurns(betaSlow)), headDim - 1);
  const width = Math.max(high - low, 0.001);
  return Float32Array.from(base, (frequency, pair) => {
    const stretched = Math.min(Math.max((pair - low) / width, 0), 1);
    return stretched * (frequency / factor) + (1 - stretched) * frequency;
  });
}
