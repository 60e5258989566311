import { KvantError } from "@kvant/core";
import type { QuantizedTensor, WeightFormat } from "@kvant/formats";
import { absmax } from "./absmax.ts";
import type { QuantizeMethod } from "./method.ts";

/** Every method that is built. Adding one is a file and a row here. */
export const quantizeMethods: Readonly<Record<string, QuantizeMethod>> = { absmax };

/** Methods that command lines and recipes may name and that this release does not have. */
const unbuilt = ["percentile", "mse", "awq", "gptq", "smoothquant", "qat"];

/**
 * The method of that name.
 * @throws KvantError METHOD_NOT_BUILT for a known method that is not in this release, INVALID_ARGUMENT for any other name
 */
export function quantizeMethod(name: string): QuantizeMethod {
  const method = Object.hasOwn(quantizeMethods, name) ? quantizeMethods[name] : undefined;
  if (method !== undefined) return method;
  const built = Object.keys(quantizeMethods).join(", ");
  if (unbuilt.includes(name)) {
    throw new KvantError(
      "METHOD_NOT_BUILT",
      `the quantization method ${name} is not in this release; there is ${built}`,
    );
  }
  throw new KvantError("INVALID_ARGUMENT", `no quantization method is called "${name}"; there is ${built}`);
}

/**
 * Quantizes a weight matrix [rows, cols] by a method's name.
 * @throws KvantError METHOD_NOT_BUILT, INVALID_ARGUMENT
 */
export function quantizeWeight(
  method: string,
  values: Float32Array, // [rows, cols]
  rows: number,
  cols: number,
  weightFormat: WeightFormat,
): QuantizedTensor {
  return quantizeMethod(method).quantize(values, rows, cols, weightFormat);
}
