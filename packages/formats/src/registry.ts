import { KvantError } from "@kvant/core";
import { bf16 } from "./bf16.ts";
import { e2m1 } from "./e2m1.ts";
import { e4m3 } from "./e4m3.ts";
import { e5m2 } from "./e5m2.ts";
import type { Format, FormatName } from "./format.ts";
import { fp16 } from "./fp16.ts";
import { fp32 } from "./fp32.ts";
import { int2 } from "./int2.ts";
import { int3 } from "./int3.ts";
import { int4 } from "./int4.ts";
import { int8 } from "./int8.ts";

/** Every number format. Adding one is a file that builds it, its name in `FormatName`, and a row here. */
export const formats: Readonly<Record<FormatName, Format>> = {
  fp32,
  fp16,
  bf16,
  e4m3,
  e5m2,
  e2m1,
  int8,
  int4,
  int3,
  int2,
};

/**
 * The format of that name.
 * @throws KvantError FORMAT_UNKNOWN
 */
export function format(name: string): Format {
  if (Object.hasOwn(formats, name)) return formats[name as FormatName];
  throw new KvantError(
    "FORMAT_UNKNOWN",
    `no number format is called "${name}"; there are ${Object.keys(formats).join(", ")}`,
  );
}
