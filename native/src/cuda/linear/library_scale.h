#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kvant/cuda/linear.h"

namespace kvant::cuda::linear::library {

// y[t, n] = x_scale[t] * (w_scale[n] * sum[t, n]) + bias[n], or y[t, n] += the same. Null scales are 1, a null bias is 0.
// Everything is 16-byte aligned, rows and stride are multiples of 4.
struct ScaledSums {
  const void* sums;       // [tokens, stride], of which `rows` are taken
  bool integers;          // int32, else float32
  void* y;                // [tokens, stride] as `result` says; for fp32 it may be the sums themselves
  Result result;
  const float* w_scales;  // [rows]
  const float* x_scales;  // [tokens]
  const float* bias;      // [rows]
  int rows, stride, tokens;
};

void scale_sums(const ScaledSums& sums, cudaStream_t stream);

// `count` codes of int8, e4m3 or e5m2, whole rows, to fp16 (half) or bf16 in the order of columns.
void decode_codes(Format format, const uint8_t* codes, size_t count, bool half, void* out, cudaStream_t stream);

}  // namespace kvant::cuda::linear::library
