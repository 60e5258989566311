#pragma once
#include "cuda/device_memory.h"
#include "kvant/cuda/stream.h"

namespace kvant::cuda::quantize {

// A float64 matrix with rows `stride` apart, read as its transpose where `transposed` says so.
struct DoubleMatrix {
  const double* data;
  int64_t stride;
  bool transposed = false;
  int64_t batch_stride = 0;
};

// target[i, j] = alpha * sum_k left[i, k] * right[k, j] + beta * target[i, j], for each of `batches`.
struct DoubleProduct {
  double* target;  // rows `target_stride` apart
  int64_t target_stride;
  DoubleMatrix left, right;
  int64_t rows, cols, depth;
  double alpha = 1, beta = 0;
  int64_t batches = 1, target_batch_stride = 0;
};

// Products of float64 matrices through cuBLASLt, which has float64 tensor cores multiply where the device has them (compute
// capability 8.0 and 9.0). Equal calls give equal bits.
class DoubleProducts {
 public:
  // On the current device. Throws Error BACKEND_UNAVAILABLE with the reason where the library is absent.
  DoubleProducts();
  // One stream at a time: calls share a workspace.
  void multiply(const DoubleProduct& product, Stream stream) const;
  // The same for a symmetric target of which the lower half is wanted: strips of columns from the diagonal down. What it leaves
  // above the diagonal is arbitrary.
  void multiply_lower(const DoubleProduct& product, Stream stream) const;

 private:
  DeviceMemory workspace_;
};

}  // namespace kvant::cuda::quantize
