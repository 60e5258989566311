#pragma once
#include <compare>

#include "library_product.h"

namespace kvant::cuda::linear::library {

// One call of the library: y[t, n] = sum_k x[t, k] * w[n, k], rows of y `stride` apart; for `added`, y[t, n] += the same.
struct Problem {
  Numbers numbers;
  bool scaled;             // e4m3: times x_scales[t] * w_scales[n]
  int rows, tokens, cols;  // cols: padded, multiple of 64
  int stride;              // of y
  Result result;           // int8: fp32, which stands for int32 sums
  auto operator<=>(const Problem&) const = default;
};

struct Operands {
  const void* w;          // [rows, cols]
  const void* x;          // [tokens, cols]
  const float* w_scales;  // [rows]
  const float* x_scales;  // [tokens]
  void* y;                // [tokens, stride] float32 or bf16, int32 for int8
};

constexpr size_t kCallWorkspace = size_t{32} << 20;

// Whether the library multiplies such matrices on the current device.
bool can_multiply(const Problem& problem);

// Which of the library's kernels serves a problem is decided once and kept, so equal calls give equal bits.
void multiply(const Problem& problem, const Operands& operands, void* workspace, cudaStream_t stream);

// Finds the fastest kernels for products of int8 weights w [rows, cols] and up to 1024 tokens by trying those that the library
// offers; sums are exact, so any of them gives the same bits. Takes some 20 ms, once per shape. Waits for the device.
void tune_int8(int rows, int cols, const void* w);

}  // namespace kvant::cuda::linear::library
