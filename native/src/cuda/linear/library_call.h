#pragma once
#include <optional>

#include "library_product.h"

namespace kvant::cuda::linear::library {

// One call of the library: y[t, n] = sum_k x[t, k] * w[n, k], rows of y `stride` apart.
struct Problem {
  Numbers numbers;
  int rows, tokens, cols;  // cols: padded, multiple of 64
  int stride;              // of y
  auto operator<=>(const Problem&) const = default;
};

struct Operands {
  const void* w;          // [rows, cols]
  const void* x;          // [tokens, cols]
  const float* w_scales;  // [rows], e4m3
  const float* x_scales;  // [tokens], e4m3
  void* y;                // [tokens, stride] float32, int32 for int8
};

constexpr size_t kCallWorkspace = size_t{32} << 20;

// Whether the library multiplies such matrices on the current device.
bool can_multiply(const Problem& problem);

// Which of the library's kernels serves a problem is asked once and kept, so equal calls give equal bits.
void multiply(const Problem& problem, const Operands& operands, void* workspace, cudaStream_t stream);

}  // namespace kvant::cuda::linear::library
