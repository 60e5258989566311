import type { Unit } from "./plots/plot.ts";

/**
 * A number as people read it: up to `digits` significant digits, without trailing zeros, in its unit.
 * @param like the value whose multiple of the unit is taken, such as the largest of an axis
 */
export function formatNumber(value: number, unit: Unit = "number", digits = 4, like = value): string {
  if (Number.isNaN(value)) return "not a number";
  if (!Number.isFinite(value)) return value > 0 ? "infinite" : "-infinite";
  switch (unit) {
    case "number":
    case "count":
      return plain(value, digits);
    case "share":
      return `${plain(value * 100, Math.min(digits, 3))} %`;
    case "bytes":
      return scaled(value, digits, byteSteps, like);
    case "seconds":
      return scaled(value, digits, timeSteps, like);
    default:
      return unit satisfies never;
  }
}

type Steps = readonly (readonly [size: number, name: string])[];

const byteSteps: Steps = [
  [1e12, "TB"],
  [1e9, "GB"],
  [1e6, "MB"],
  [1e3, "kB"],
  [1, "B"],
];

const timeSteps: Steps = [
  [1, "s"],
  [1e-3, "ms"],
  [1e-6, "µs"],
];

function scaled(value: number, digits: number, steps: Steps, like: number): string {
  const magnitude = Math.abs(like);
  const [size, name] = steps.find(([step]) => magnitude >= step) ?? (like === 0 ? [1, baseName(steps)] : steps.at(-1)!);
  return `${plain(value / size, Math.min(digits, 3))} ${name}`;
}

function baseName(steps: Steps): string {
  return steps.find(([size]) => size === 1)![1];
}

function plain(value: number, digits: number): string {
  if (value === 0) return "0";
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString("en");
  const magnitude = Math.abs(value);
  if (magnitude < 1e-3 || magnitude >= 1e6)
    return value
      .toExponential(digits - 1)
      .replace(/\.?0+e/, "e")
      .replace("e+", "e");
  // Digits before the point are never rounded away.
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(magnitude)));
  return value.toLocaleString("en", { maximumFractionDigits: decimals });
}
