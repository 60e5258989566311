#pragma once

namespace kvant {

// What a gate goes through before it multiplies: x / (1 + exp(-t)) with
//   silu       t = x
//   gelu_tanh  t = 2 sqrt(2 / pi) (x + 0.044715 x^3), Hendrycks and Gimpel, arXiv:1606.08415
enum class Gate { silu, gelu_tanh };

constexpr float kGeluSlope = 1.59576912f;  // 2 sqrt(2 / pi)
constexpr float kGeluCubic = 0.044715f;

}  // namespace kvant
