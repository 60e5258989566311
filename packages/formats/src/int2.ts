import { integerFormat } from "./integer-format.ts";

/** Two's complement, -2 to 1. Symmetric quantization leaves -2 unused: its codes are -1, 0 and 1. */
export const int2 = integerFormat("int2", 2);
