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
