import { KvantError } from "@kvant/core";
import type { QuantizedTensor, WeightFormat } from "@kvant/formats";

/** What a method may be told. Each says which of these it reads; any other is refused. */
export interface QuantizeOptions {
  /** What errors call the matrix, usually a tensor's name. Read by all methods. */
  readonly name?: string | undefined;
  /** `percentile`: percent of the values that are not clipped, above 50 and up to 100. Default 99.99. */
  readonly percentile?: number | undefined;
  /** `mse`: the least part of the range that is tried, above 0 and up to 1. Default 1/16. */
  readonly smallestRatio?: number | undefined;
  /** `entropy`: bins of the histogram, 128 and more, as far as there are 16 values for each. Default 2048. */
  readonly histogramBins?: number | undefined;
}

/** A way to choose scales and codes for a weight matrix from the weights alone. */
export interface QuantizeMethod {
  readonly name: string;
  /** The options that it reads besides `name`. */
  readonly options: readonly Exclude<keyof QuantizeOptions, "name">[];
  /**
   * Quantizes a matrix [rows, cols], row-major.
   * @throws KvantError WEIGHT_NOT_FINITE for NaN and infinities; INVALID_ARGUMENT if the shape does not match the values, the
   * weight format has no scales or none that this method chooses, or an option is out of range or not one of the method's
   */
  quantize(
    values: Float32Array, // [rows, cols]
    rows: number,
    cols: number,
    weightFormat: WeightFormat,
    options?: QuantizeOptions,
  ): QuantizedTensor;
}

/**
 * What errors call the matrix.
 * @throws KvantError INVALID_ARGUMENT for an option that the method does not read
 */
export function matrixName(method: Pick<QuantizeMethod, "name" | "options">, options: QuantizeOptions): string {
  const read: readonly string[] = ["name", ...method.options];
  for (const [option, value] of Object.entries(options)) {
    if (value === undefined || read.includes(option)) continue;
    throw new KvantError("INVALID_ARGUMENT", `the method ${method.name} has no option "${option}"`, { field: option });
  }
  return options.name ?? "weight";
}

/**
 * An option within its bounds.
 * @throws KvantError INVALID_ARGUMENT
 */
export function boundedOption(
  name: keyof QuantizeOptions,
  value: number,
  { above, upTo }: { readonly above: number; readonly upTo: number },
): number {
  if (value > above && value <= upTo) return value;
  throw new KvantError("INVALID_ARGUMENT", `${name} is a number above ${above} and up to ${upTo}, not ${value}`, {
    field: name,
  });
}
