import { floatFormat } from "./float-format.ts";

/** FP4 E2M1 (OCP Microscaling): 0, 0.5, 1, 1.5, 2, 3, 4, 6 with a sign; no infinity and no NaN. */
export const e2m1 = floatFormat("e2m1", { exponentBits: 2, mantissaBits: 1, specials: "none" });
