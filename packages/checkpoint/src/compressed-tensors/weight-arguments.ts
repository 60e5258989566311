import { KvantError } from "@kvant/core";
import { type FormatName, formats, type Granularity, type WeightFormat, weightFormatName } from "@kvant/formats";
import type { ConfigFields } from "../config-fields.ts";
import type { ActivationQuantization, CompressionFormat } from "./module-scheme.ts";

const expressible =
  "it holds int8, int4, int3 and int2 per tensor, channel or group (-affine too), e4m3 per tensor, channel, group or tile, " +
  "mxfp4, mxfp8 and nvfp4";

/**
 * The layout that the dialect has for a weight format. Integers lie packed, and one per byte where activations are quantized
 * too: integer products read them so.
 * @throws KvantError QUANTIZATION_UNSUPPORTED naming the format and those that can be written
 */
export function compressionFormat(
  weightFormat: WeightFormat,
  activations: ActivationQuantization | undefined,
): CompressionFormat {
  const { format, granularity, scaleFormat } = weightFormat;
  const refused = () =>
    new KvantError(
      "QUANTIZATION_UNSUPPORTED",
      `compressed-tensors has no place for ${weightFormatName(weightFormat)}; ${expressible}`,
    );
  if (granularity === undefined || (granularity.kind === "channel" && granularity.axis === 1)) throw refused();
  if (scaleFormat === "e4m3") return "nvfp4-pack-quantized";
  if (scaleFormat === "e8m0") return format === "e2m1" ? "mxfp4-pack-quantized" : "mxfp8-quantized";
  if (format === "e4m3") return "float-quantized";
  if (formats[format].kind !== "integer" || granularity.kind === "tile") throw refused();
  return activations === undefined ? "pack-quantized" : "int-quantized";
}

/**
 * The JSON object `weights` of a group: `QuantizationArgs` of compressed-tensors
 * (src/compressed_tensors/quantization/quant_args.py). `scale_dtype` stands only where scales have 8 bits: versions older
 * than those formats refuse the key.
 */
export function weightArguments({ format, granularity, affine, scaleFormat }: WeightFormat): Record<string, unknown> {
  const { bits, kind } = formats[format];
  return quantizationArguments({
    ...{ bits, type: kind === "integer" ? "int" : "float", symmetric: !affine, dynamic: false },
    strategy: scaleFormat === "e4m3" ? "tensor_group" : strategyOf(granularity!),
    groupSize: granularity?.kind === "group" ? granularity.size : null,
    tile: granularity?.kind === "tile" ? [granularity.rows, granularity.cols] : null,
    scaleDtype: scaleFormat && (scaleFormat === "e8m0" ? "torch.uint8" : "torch.float8_e4m3fn"),
  });
}

/** One object of quantization arguments, its keys in the order that published files have. */
export function quantizationArguments(values: {
  readonly bits: number;
  readonly type: "int" | "float";
  readonly symmetric: boolean;
  readonly dynamic: boolean;
  readonly strategy: string;
  readonly groupSize?: number | null;
  readonly tile?: readonly number[] | null;
  readonly scaleDtype?: string | undefined;
}): Record<string, unknown> {
  return {
    actorder: null,
    block_structure: values.tile ?? null,
    dynamic: values.dynamic,
    group_size: values.groupSize ?? null,
    num_bits: values.bits,
    observer: null,
    observer_kwargs: {},
    ...(values.scaleDtype === undefined ? {} : { scale_dtype: values.scaleDtype }),
    strategy: values.strategy,
    symmetric: values.symmetric,
    type: values.type,
  };
}

function strategyOf(granularity: Granularity): string {
  return granularity.kind === "tile" ? "block" : granularity.kind;
}

/** Every key of `QuantizationArgs`; the class itself forbids others. */
export const argumentNames = [
  ...["actorder", "block_structure", "dynamic", "group_size", "num_bits", "observer", "observer_kwargs"],
  ...["scale_dtype", "strategy", "symmetric", "type", "zp_dtype"],
];

/**
 * The weight format of a group's `weights`.
 * @throws KvantError CONFIG_INVALID, QUANTIZATION_UNSUPPORTED naming the field
 */
export function parseWeightArguments(fields: ConfigFields, compression: CompressionFormat): WeightFormat {
  fields.only(argumentNames);
  if (fields.record.dynamic !== undefined && fields.record.dynamic !== false) {
    fields.unsupported("dynamic", "weights have static scales");
  }
  const order = fields.record.actorder ?? false;
  if (order !== false && order !== "weight" && order !== "static") {
    fields.unsupported("actorder", "columns are read in their own order: null, weight or static");
  }
  const type = fields.string("type") ?? "int";
  const affine = !fields.boolean("symmetric", true);
  const bits = fields.integer("num_bits", { min: 1, max: 16, absent: 8 });
  const granularity = parseGranularity(fields);
  if (type === "int") return integerFormat(fields, compression, bits, granularity, affine);
  if (type !== "float") return fields.fail("type", "int or float");
  if (affine) fields.unsupported("symmetric", "float codes have no zero points");
  return floatFormat(fields, compression, bits, granularity);
}

const integerFormats = new Map<number, FormatName>([
  [8, "int8"],
  [4, "int4"],
  [3, "int3"],
  [2, "int2"],
]);

function integerFormat(
  fields: ConfigFields,
  compression: CompressionFormat,
  bits: number,
  granularity: Granularity,
  affine: boolean,
): WeightFormat {
  const format = integerFormats.get(bits) ?? fields.unsupported("num_bits", "integers have 8, 4, 3 or 2 bits");
  if (!["pack-quantized", "int-quantized", "naive-quantized"].includes(compression)) {
    fields.unsupported("type", `format ${compression} holds floats`);
  }
  if (granularity.kind === "tile" || strategyName(fields) === "tensor_group") {
    fields.unsupported("strategy", "integers have scales per tensor, channel or group");
  }
  return { format, granularity, affine };
}

function floatFormat(
  fields: ConfigFields,
  compression: CompressionFormat,
  bits: number,
  granularity: Granularity,
): WeightFormat {
  const isGroupOf = (size: number) => granularity.kind === "group" && granularity.size === size;
  const isTensorGroup = strategyName(fields) === "tensor_group";
  switch (compression) {
    case "float-quantized":
    case "naive-quantized":
      if (bits !== 8) fields.unsupported("num_bits", `floats of format ${compression} have 8 bits`);
      if (isTensorGroup) fields.unsupported("strategy", `format ${compression} has one level of scales`);
      return { format: "e4m3", granularity, affine: false };
    case "mxfp8-quantized":
    case "mxfp4-pack-quantized": {
      const own = compression === "mxfp8-quantized" ? 8 : 4;
      if (bits !== own) fields.unsupported("num_bits", `format ${compression} has ${own} bits`);
      if (!isGroupOf(32) || isTensorGroup) fields.unsupported("group_size", `format ${compression} has groups of 32`);
      return { format: own === 8 ? "e4m3" : "e2m1", granularity, affine: false, scaleFormat: "e8m0" };
    }
    case "nvfp4-pack-quantized":
      if (bits !== 4) fields.unsupported("num_bits", "format nvfp4-pack-quantized has 4 bits");
      if (!isTensorGroup || !isGroupOf(16)) {
        fields.unsupported("strategy", "format nvfp4-pack-quantized has strategy tensor_group with group_size 16");
      }
      return { format: "e2m1", granularity, affine: false, scaleFormat: "e4m3" };
    case "pack-quantized":
    case "int-quantized":
      return fields.unsupported("type", `format ${compression} holds integers`);
    default:
      return compression satisfies never;
  }
}

/** The strategy, or what follows from `group_size` where there is none. */
export function strategyName(fields: ConfigFields): string {
  const strategy = fields.string("strategy");
  if (strategy !== undefined) return strategy;
  const { group_size: size } = fields.record;
  return size === undefined || size === null ? "tensor" : size === -1 ? "channel" : "group";
}

function parseGranularity(fields: ConfigFields): Granularity {
  const strategy = strategyName(fields);
  switch (strategy) {
    case "tensor":
      return { kind: "tensor" };
    case "channel":
      return { kind: "channel", axis: 0 };
    case "group":
    case "tensor_group":
      return { kind: "group", size: fields.integer("group_size", { min: 1, max: 2 ** 20 }) };
    case "block": {
      const { block_structure: sides } = fields.record;
      const isSide = (side: unknown): side is number => Number.isSafeInteger(side) && (side as number) > 0;
      if (!Array.isArray(sides) || sides.length !== 2 || !sides.every(isSide)) {
        return fields.fail("block_structure", "a list of two positive integers");
      }
      return { kind: "tile", rows: sides[0]!, cols: sides[1]! };
    }
    default:
      return fields.unsupported("strategy", "weights have scales per tensor, channel, group, tensor_group or block");
  }
}
