const slope = 2 * Math.sqrt(2 / Math.PI);

/**
 * out = gelu(gate) * up, with gelu(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), the approximation of Hendrycks
 * and Gimpel (arXiv:1606.08415), here as x / (1 + e^(-2 sqrt(2 / pi) (x + 0.044715 x^3))).
 */
export function geluMul(gate: Float32Array, up: Float32Array, out: Float32Array): void {
  for (let i = 0; i < gate.length; i++) {
    const x = gate[i]!;
    out[i] = (x / (1 + Math.exp(-slope * (x + 0.044715 * x ** 3)))) * up[i]!;
  }
}
