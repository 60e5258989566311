#pragma once
#include <cstdint>
#include <vector>

#include "cuda/device_memory.h"
#include "double_product.h"

namespace kvant::cuda::quantize {

// GPTQ's factor of the inverse Hessian: packages/quantizers `gptqFactor` and `inverseCholeskyUpper`.
struct InverseFactor {
  DeviceMemory upper;  // [n, n], upper triangular, upper^T upper = (H + damping * mean * I)^-1
  DeviceMemory order;  // int32 [n], the column at each place; empty: as they lie
  DeviceMemory dead;   // uint8 [n] by place, 1 where the input was zero in every token
  double damping = 0;  // as asked for, or more
  int64_t dead_columns = 0;
};

// Factors a symmetric matrix [n, n] on the device. Waits for the stream. Throws Error INVALID_ARGUMENT where `inverseCholeskyUpper`
// does.
InverseFactor factor_inverse(const double* gram, int64_t n, double damping, bool act_order, const DoubleProducts& products, Stream stream);

}  // namespace kvant::cuda::quantize
