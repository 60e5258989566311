import { KvantError } from "@kvant/core";

/** Formats of the activations that enter a matrix product. `int8` and `e4m3` take one scale per token. */
export const activationFormatNames = ["fp32", "bf16", "fp16", "int8", "e4m3"] as const;
export type ActivationFormatName = (typeof activationFormatNames)[number];

/**
 * Reads the name of an activation format.
 * @throws KvantError FORMAT_UNKNOWN
 */
export function parseActivationFormat(name: string): ActivationFormatName {
  const known = activationFormatNames.find((each) => each === name);
  if (known !== undefined) return known;
  throw new KvantError(
    "FORMAT_UNKNOWN",
    `no activation format is called "${name}"; there are ${activationFormatNames.join(", ")}`,
  );
}
