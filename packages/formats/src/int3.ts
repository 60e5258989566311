import { integerFormat } from "./integer-format.ts";

/** Two's complement, -4 to 3. Symmetric quantization leaves -4 unused. */
export const int3 = integerFormat("int3", 3);
