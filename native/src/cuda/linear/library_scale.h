#pragma once
#include <cuda_runtime_api.h>

namespace kvant::cuda::linear::library {

// Null scales are 1, a null bias is 0. All are 16-byte aligned; rows is a multiple of 4.
struct Scaling {
  float* y;               // [tokens, rows], sums in, numbers out
  const float* w_scales;  // [rows]
  const float* x_scales;  // [tokens]
  const float* bias;      // [rows]
  int rows, tokens;
};

void scale_sums(const Scaling& scaling, bool integers, cudaStream_t stream);

}  // namespace kvant::cuda::linear::library
