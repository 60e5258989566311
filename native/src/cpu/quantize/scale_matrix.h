#pragma once
#include <cstdint>

#include "kvant/thread_pool.h"

namespace kvant {

// out[r, c] = values[r, c] * factor, or divided by it: packages/quantizers `scaleColumns` and its neighbours.
struct MatrixScaling {
  const float* values;   // [rows, cols]
  int64_t rows, cols;
  const float* factors;  // [cols], or [rows] where `by_row`
  bool by_row, divides;
  float* out;            // [rows, cols]
};
void scale_matrix(const MatrixScaling& scaling, ThreadPool& pool);

// Whether no value is NaN or infinite.
bool all_finite(const float* values, int64_t count, ThreadPool& pool);

}  // namespace kvant
