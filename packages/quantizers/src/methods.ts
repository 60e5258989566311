import { KvantError } from "@kvant/core";
import type { QuantizedTensor, WeightFormat } from "@kvant/formats";
import { absmax } from "./absmax.ts";
import type { QuantizeMethod, QuantizeOptions } from "./method.ts";
import { entropy } from "./scale-search/entropy.ts";
import { mse } from "./scale-search/mse.ts";
import { percentile } from "./scale-search/percentile.ts";

/** Every method that quantizes a matrix from its weights alone. Adding one is a file and a row here. */
export const quantizeMethods: Readonly<Record<string, QuantizeMethod>> = { absmax, percentile, mse, entropy };

/** Methods that need activations, and so a model around the matrix. */
const calibrated = ["awq", "gptq", "smoothquant"];

/** Methods that command lines and recipes may name and that this release does not have. */
const unbuilt = ["qat"];

/**
 * The method of that name.
 * @throws KvantError METHOD_NOT_BUILT for a known method that is not in this release, INVALID_ARGUMENT for one that needs
 * calibration activations and for any other name
 */
export function quantizeMethod(name: string): QuantizeMethod {
  const method = Object.hasOwn(quantizeMethods, name) ? quantizeMethods[name] : undefined;
  if (method !== undefined) return method;
  const built = Object.keys(quantizeMethods).join(", ");
  if (calibrated.includes(name)) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `${name} needs calibration activations, which one matrix does not have: "kvant quantize" and quantizeModel run it ` +
        `over a model; from weights alone there are ${built}`,
    );
  }
  if (unbuilt.includes(name)) {
    throw new KvantError(
      "METHOD_NOT_BUILT",
      `the quantization method ${name} is not in this release; there are ${built}`,
    );
  }
  throw new KvantError("INVALID_ARGUMENT", `no quantization method is called "${name}"; there are ${built}`);
}

/**
 * Quantizes a weight matrix [rows, cols] by a method's name.
 * @throws KvantError METHOD_NOT_BUILT, WEIGHT_NOT_FINITE, INVALID_ARGUMENT
 */
export function quantizeWeight(
  method: string,
  values: Float32Array, // [rows, cols]
  rows: number,
  cols: number,
  weightFormat: WeightFormat,
  options: QuantizeOptions = {},
): QuantizedTensor {
  return quantizeMethod(method).quantize(values, rows, cols, weightFormat, options);
}
