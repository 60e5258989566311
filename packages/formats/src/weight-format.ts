import { KvantError } from "@kvant/core";
import { codeRowBytes } from "./code-rows.ts";
import type { FormatName } from "./format.ts";
import { type Granularity, scaleCount } from "./granularity.ts";
import { formats } from "./registry.ts";

/** How a weight matrix is stored: the format of a code, where its scales lie, and whether groups have zero points. */
export interface WeightFormat {
  readonly format: FormatName;
  /** `undefined` for fp32, bf16 and fp16, which have no scales. */
  readonly granularity: Granularity | undefined;
  /** Zero points beside the scales; integer formats only. */
  readonly affine: boolean;
  /**
   * How scales are held; absent: float32. `e8m0`: a power of two for 32 values of e2m1 (MXFP4) or e4m3 (MXFP8). `e4m3`: for
   * 16 values of e2m1, times one float32 for the tensor (NVFP4).
   */
  readonly scaleFormat?: "e8m0" | "e4m3";
}

// FP4 is the one format whose name in a weight scheme differs from the name of its numbers.
const quantizedFormats = new Map<string, FormatName>([
  ["int8", "int8"],
  ["int4", "int4"],
  ["int3", "int3"],
  ["int2", "int2"],
  ["e4m3", "e4m3"],
  ["e5m2", "e5m2"],
  ["fp4", "e2m1"],
]);
const granularities = new Map<string, Granularity>([
  ["tensor", { kind: "tensor" }],
  ["channel", { kind: "channel", axis: 0 }],
  ["g32", { kind: "group", size: 32 }],
  ["g64", { kind: "group", size: 64 }],
  ["g128", { kind: "group", size: 128 }],
  ["t128x128", { kind: "tile", rows: 128, cols: 128 }],
]);
const aliases = new Map([
  ["int8", "int8-channel"],
  ["e4m3", "e4m3-channel"],
]);

// Formats whose scales are of 8 bits; each fixes how many values share one.
const blockFormats = new Map<string, WeightFormat>([
  ["mxfp4", { format: "e2m1", granularity: { kind: "group", size: 32 }, affine: false, scaleFormat: "e8m0" }],
  ["mxfp8", { format: "e4m3", granularity: { kind: "group", size: 32 }, affine: false, scaleFormat: "e8m0" }],
  ["nvfp4", { format: "e2m1", granularity: { kind: "group", size: 16 }, affine: false, scaleFormat: "e4m3" }],
]);

/** Every weight format by its full name, for help texts and for tests over all of them. */
export const weightFormats: ReadonlyMap<string, WeightFormat> = new Map(
  (function* (): Generator<[string, WeightFormat]> {
    for (const format of ["fp32", "bf16", "fp16"] as const) {
      yield [format, { format, granularity: undefined, affine: false }];
    }
    for (const [prefix, format] of quantizedFormats) {
      for (const [suffix, granularity] of granularities) {
        yield [`${prefix}-${suffix}`, { format, granularity, affine: false }];
      }
    }
    yield* blockFormats;
    for (const [prefix, format] of quantizedFormats) {
      if (formats[format].kind !== "integer") continue;
      for (const [suffix, granularity] of granularities) {
        yield [`${prefix}-${suffix}-affine`, { format, granularity, affine: true }];
      }
    }
  })(),
);

/**
 * Reads a weight format's name, such as `int8-channel` or `int4-g32`. `int8` and `e4m3` stand for their `-channel` forms.
 * @throws KvantError FORMAT_UNKNOWN, listing the names there are
 */
export function parseWeightFormat(name: string): WeightFormat {
  const known = weightFormats.get(aliases.get(name) ?? name);
  if (known !== undefined) return known;
  throw new KvantError(
    "FORMAT_UNKNOWN",
    `no weight format is called "${name}"; there are fp32, bf16, fp16, ${[...blockFormats.keys()].join(", ")}, ` +
      `and {${[...quantizedFormats.keys()].join(", ")}}-{${[...granularities.keys()].join(", ")}}, ` +
      "where the integer formats also take a final -affine; int8 and e4m3 alone mean their -channel forms",
  );
}

/**
 * The full name. Layouts that only a library call can ask for get one too: `int8-g48`, `int8-t64x32`, `int8-channel1` for
 * axis 1.
 */
export function weightFormatName({ format, granularity, affine, scaleFormat }: WeightFormat): string {
  if (granularity === undefined) return format;
  if (scaleFormat !== undefined) return blockFormatName(format, scaleFormat);
  const prefix = format === "e2m1" ? "fp4" : format;
  return `${prefix}-${granularityName(granularity)}${affine ? "-affine" : ""}`;
}

function blockFormatName(format: FormatName, scaleFormat: "e8m0" | "e4m3"): string {
  for (const [name, each] of blockFormats) if (each.format === format && each.scaleFormat === scaleFormat) return name;
  throw new KvantError("INVALID_ARGUMENT", `no weight format has ${format} codes with ${scaleFormat} scales`);
}

function granularityName(granularity: Granularity): string {
  switch (granularity.kind) {
    case "tensor":
      return "tensor";
    case "channel":
      return granularity.axis === 0 ? "channel" : "channel1";
    case "group":
      return `g${granularity.size}`;
    case "tile":
      return `t${granularity.rows}x${granularity.cols}`;
    default:
      return granularity satisfies never;
  }
}

/**
 * Bytes of a weight matrix [rows, cols] as stored: its codes (int3 and int2 in nibbles, as int4), and its scales (float32, or
 * one byte in MX formats and NVFP4) with their zero points (one byte each) and the tensor scale of NVFP4.
 */
export function weightBytes(
  { format, granularity, affine, scaleFormat }: WeightFormat,
  rows: number,
  cols: number,
): { readonly codes: number; readonly scales: number } {
  const codes = rows * codeRowBytes(formats[format], cols);
  const count = granularity === undefined ? 0 : scaleCount(granularity, [rows, cols]);
  if (scaleFormat !== undefined) return { codes, scales: count + (scaleFormat === "e4m3" ? 4 : 0) };
  return { codes, scales: count * (affine ? 5 : 4) };
}
