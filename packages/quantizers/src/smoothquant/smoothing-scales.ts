import { KvantError } from "@kvant/core";

/**
 * SmoothQuant's scales (Xiao et al. 2022, arXiv:2211.10438, equation 4): `s_j = max|X_j|^alpha / max|W_j|^(1 - alpha)`. Inputs
 * are divided by them and weight columns multiplied, which moves the difficulty of quantization from activations to weights:
 * alpha 0 leaves weights all alike, 1 activations. A channel whose activations or weights are all zero keeps scale 1, and so
 * does one whose scale is beyond float32.
 * @throws KvantError INVALID_ARGUMENT if the lengths differ, a magnitude is negative or not finite, or alpha is outside 0..1
 */
export function smoothingScales(
  activationMax: Float32Array, // [cols], max |x| over calibration tokens
  weightMax: Float32Array, // [cols], max |w| over the rows of all layers that share the input
  alpha: number,
): Float32Array {
  if (activationMax.length !== weightMax.length) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `${activationMax.length} channels of activations do not match ${weightMax.length} of weights`,
    );
  }
  if (!(alpha >= 0 && alpha <= 1)) {
    throw new KvantError("INVALID_ARGUMENT", `SmoothQuant's alpha lies between 0 and 1, not at ${alpha}`);
  }
  const scales = new Float32Array(activationMax.length);
  for (let col = 0; col < scales.length; col++) {
    const [activation, weight] = [activationMax[col]!, weightMax[col]!];
    if (!(activation >= 0 && activation < Infinity && weight >= 0 && weight < Infinity)) {
      throw new KvantError("INVALID_ARGUMENT", `channel ${col} has magnitudes ${activation} and ${weight}`);
    }
    const scale = Math.fround(activation ** alpha / weight ** (1 - alpha));
    scales[col] = activation > 0 && weight > 0 && scale > 0 && scale < Infinity ? scale : 1;
  }
  return scales;
}

/** `max[c] = max(max[c], |values[r, c]|)` over the rows of a matrix [rows, cols]. NaN is ignored. */
export function addColumnMaxima(values: Float32Array, rows: number, cols: number, max: Float32Array): void {
  if (values.length !== rows * cols || max.length !== cols) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `${values.length} values and ${max.length} maxima do not go with a matrix [${rows}, ${cols}]`,
    );
  }
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      const magnitude = Math.abs(values[row * cols + col]!);
      if (magnitude > max[col]!) max[col] = magnitude;
    }
  }
}
