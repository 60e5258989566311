import { floatFormat } from "./float-format.ts";

/** IEEE 754 binary16. Values beyond 65504 saturate. */
export const fp16 = floatFormat("fp16", { exponentBits: 5, mantissaBits: 10, specials: "ieee" });
