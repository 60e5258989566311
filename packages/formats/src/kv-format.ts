import { KvantError } from "@kvant/core";

/** Formats of the paged KV cache. */
export const kvFormatNames = ["fp32", "bf16", "fp16", "e4m3", "e5m2", "int8"] as const;
export type KvFormatName = (typeof kvFormatNames)[number];

/**
 * Reads the name of a KV format.
 * @throws KvantError FORMAT_UNKNOWN
 */
export function parseKvFormat(name: string): KvFormatName {
  const known = kvFormatNames.find((each) => each === name);
  if (known !== undefined) return known;
  throw new KvantError("FORMAT_UNKNOWN", `no KV format is called "${name}"; there are ${kvFormatNames.join(", ")}`);
}
