import { floatFormat } from "./float-format.ts";

/** bfloat16: the upper half of a float32, subnormals included. Values beyond 3.3895e38 saturate. */
export const bf16 = floatFormat("bf16", { exponentBits: 8, mantissaBits: 7, specials: "ieee" });
