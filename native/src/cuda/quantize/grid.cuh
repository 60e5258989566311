#pragma once
// The numbers that a weight format can hold under a scale, and how a scale is chosen for a range: bit for bit the arithmetic of
// packages/quantizers `codeGrid`, `wholeRangeScale` and `shrunkScale`. Products and quotients are rounded one by one, so the
// intrinsics keep the compiler from fusing them.
#include <cfloat>

#include "cpu/linear/float_codes.h"
#include "grid.h"

namespace kvant::cuda::quantize {

struct Coded {
  int code;
  float value;  // what the code stands for
};

struct GroupScale {
  float scale;
  int zero;
};

__device__ inline Coded quantize(const Grid& grid, float x, float scale, int zero) {
  if (scale == 0) return {zero, 0.0f};
  const float quotient = __fdiv_rn(x, scale);
  if (grid.kind == Grid::Kind::floating) {
    const int code = static_cast<int>(kvant::linear::encode_float(fminf(fmaxf(quotient, -grid.max), grid.max), kvant::linear::float_definition(grid.format)));
    return {code, __fmul_rn(kvant::linear::decode_float(static_cast<uint32_t>(code), grid.format), scale)};
  }
  if (grid.kind == Grid::Kind::integer) {
    const float code = rintf(fminf(fmaxf(quotient, -grid.max), grid.max));
    return {static_cast<int>(code), __fmul_rn(code, scale)};
  }
  const float low = -grid.max - 1;
  const float rounded = rintf(fminf(fmaxf(quotient, 2 * low), 2 * grid.max + 1));
  const float code = fminf(fmaxf(rounded + static_cast<float>(zero), low), grid.max);
  return {static_cast<int>(code), __fmul_rn(code - static_cast<float>(zero), scale)};
}

// The scale of the range [low, high] with both ends multiplied by `shrink`; low <= 0 <= high.
__device__ inline GroupScale scale_of(const Grid& grid, float low, float high, float shrink = 1) {
  low = fmaxf(__fmul_rn(low, shrink), -FLT_MAX);
  high = fminf(__fmul_rn(high, shrink), FLT_MAX);
  const float largest = fmaxf(-low, high);
  if (grid.kind == Grid::Kind::affine) {
    const float steps = 2 * grid.max + 1, bottom = -grid.max - 1;
    const float scale = __fsub_rn(__fdiv_rn(high, steps), __fdiv_rn(low, steps));
    if (scale == 0) return {0.0f, 0};
    // The difference of the two is exact enough: in float64, as TypeScript takes it.
    const double zero = rint(static_cast<double>(bottom) - static_cast<double>(__fdiv_rn(low, scale)));
    return {scale, static_cast<int>(fmin(fmax(zero, static_cast<double>(bottom)), static_cast<double>(grid.max)))};
  }
  switch (grid.scale_kind) {
    case Grid::ScaleKind::power: {
      const int exponent = static_cast<int>(min(__float_as_uint(largest) >> 23, 254u));
      return {kvant::linear::decode_e8m0(static_cast<uint32_t>(max(0, exponent - grid.element_exponent))), 0};
    }
    case Grid::ScaleKind::e4m3: {
      if (grid.tensor_scale == 0) return {0.0f, 0};
      const float quotient = __fdiv_rn(__fdiv_rn(largest, grid.max), grid.tensor_scale);
      const uint32_t code = kvant::linear::encode_float(quotient, kvant::linear::float_definition(Format::e4m3));
      return {__fmul_rn(kvant::linear::decode_float(code, Format::e4m3), grid.tensor_scale), 0};
    }
    default: return {__fdiv_rn(largest, grid.max), 0};
  }
}

}  // namespace kvant::cuda::quantize
