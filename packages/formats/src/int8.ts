import { integerFormat } from "./integer-format.ts";

/** Two's complement, -128 to 127. Symmetric quantization leaves -128 unused. */
export const int8 = integerFormat("int8", 8);
