import { InvalidArgumentError } from "commander";
import { positiveInteger } from "./model-options.ts";

/** `a,b` */
export function nameList(text: string): readonly string[] {
  const parts = text.split(",").map((part) => part.trim());
  if (parts.includes("")) throw new InvalidArgumentError(`"${text}" is not a comma-separated list.`);
  return parts;
}

/** `1,8,256` */
export function countList(text: string): readonly number[] {
  return nameList(text).map(positiveInteger);
}

/** `5%` or `5` as a share: 0.05. */
export function percentage(text: string): number {
  const value = Number(text.replace(/\s*%$/, ""));
  if (!/^[\d.]/.test(text) || !Number.isFinite(value)) {
    throw new InvalidArgumentError(`"${text}" is not a percentage such as 5%.`);
  }
  return value / 100;
}
