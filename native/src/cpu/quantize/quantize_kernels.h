#pragma once
#include <cstdint>

#include "kvant/tier.h"

namespace kvant {

// Vectors [depth] of float32 or float64 side by side: element p of lane l is data[l * lane_stride + p * depth_stride].
struct Lanes {
  const void* data;
  bool is_float64;
  int64_t lane_stride, depth_stride;  // in elements; may be negative
};

// Part of a float64 matrix that products are added to.
struct ProductTarget {
  double* data;
  int64_t row_stride, col_stride;  // in elements; may be negative
};

constexpr int64_t kLine = 64;  // values whose codes are stored together

// Codes of a row [cols]: `code = encode(clamp(x / scale))`, as bytes or two per byte, low nibble first and an odd row filled up
// with 0. A negative `matrix_scale` asks for a scale per `group_cols` values, `absmax / largest code`, written to `scales`; another
// one is that of a matrix that holds the row.
using QuantizeRow = void (*)(const float* x, int64_t cols, int64_t group_cols, float matrix_scale, float* scales, uint8_t* codes);

// What a tier contributes to quantization on the CPU. Operands of products are packed into strips: [ceil(count / width)][depth]
// [width] of float64, the last strip filled up with zeros.
struct QuantizeKernels {
  int64_t left_width, right_width;
  void (*pack_left)(const Lanes& from, int64_t count, int64_t depth, double* strips);
  void (*pack_right)(const Lanes& from, int64_t count, int64_t depth, double* strips);
  // target[i, j] += sign * sum_p left[p, i] right[p, j]: each sum begins at 0 and runs over p in order, with a multiplication
  // and an addition that round apart, so that every tier and V8 get the same bits.
  void (*add_tile)(const double* left, const double* right, int64_t rows, int64_t cols, int64_t depth, double sign,
                   const ProductTarget& target);

  // max |x[i]|; NaN is ignored and infinity counts as the largest float32.
  float (*absmax)(const float* x, int64_t count);
  QuantizeRow int8, int4, int3, int2, e4m3, e5m2, e2m1;
};

const QuantizeKernels& quantize_kernels(Tier tier);

extern const QuantizeKernels quantize_kernels_scalar;
extern const QuantizeKernels quantize_kernels_avx2;
extern const QuantizeKernels quantize_kernels_avx512vnni;
extern const QuantizeKernels quantize_kernels_neon;

}  // namespace kvant
