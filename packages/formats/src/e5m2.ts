import { floatFormat } from "./float-format.ts";

/** FP8 E5M2 (OCP): largest value 57344. Infinity codes decode but are never produced. */
export const e5m2 = floatFormat("e5m2", { exponentBits: 5, mantissaBits: 2, specials: "ieee" });
