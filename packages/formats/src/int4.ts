import { integerFormat } from "./integer-format.ts";

/** Two's complement, -8 to 7. Symmetric quantization leaves -8 unused. */
export const int4 = integerFormat("int4", 4);
