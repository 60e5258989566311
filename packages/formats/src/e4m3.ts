import { floatFormat } from "./float-format.ts";

/** FP8 E4M3 in the OCP form (`e4m3fn`): largest value 448, one NaN per sign, no infinity. */
export const e4m3 = floatFormat("e4m3", { exponentBits: 4, mantissaBits: 3, specials: "nan-only" });
