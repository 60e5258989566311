#pragma once
#include <cstdint>
#include <vector>

#include "kvant/thread_pool.h"

namespace kvant {

// Where the scales of a matrix [rows, cols] lie: `group_size` values per scale along a row; -1: one per row; -2: one for the matrix.
struct MatrixScales {
  const float* scales;
  const int8_t* zeros;  // null: none
  int64_t group_size;
};

// A matrix as codes, and where its values go: values[i] = (table[code] - zero) * scale, rounded to float32 once.
struct Dequantization {
  const uint8_t* codes;  // [rows, row bytes]: bytes, or nibbles with the first in the low half
  int64_t rows, cols;
  int stored_bits;       // 8 or 4
  MatrixScales scales;
  const float* table;    // [256] the number that each code stands for
  float* values;         // [rows, cols]
};
void dequantize(const Dequantization& matrix, ThreadPool& pool);

// packages/quantizers `quantizationError` before its last divisions. Sums run over a row and then over rows, first to last.
struct ErrorSums {
  double signal = 0, noise = 0, largest_error = 0;
  int64_t saturated = 0, zeroed = 0, non_finite = 0;
};
struct RestoredMatrix {
  const float* original;  // [rows, cols]
  const float* restored;  // [rows, cols]
  int64_t rows, cols;
  MatrixScales scales;
  double max;        // largest code
  double half_step;  // how much further a code reaches than its value
};
ErrorSums sum_errors(const RestoredMatrix& matrix, ThreadPool& pool);

// Counts of two arrays over the same equal bins, from minus to plus the largest magnitude of both; NaN counts nowhere.
struct ValueCounts {
  double reach = 0;
  std::vector<double> before, after;  // [bins]
};
ValueCounts count_values(const float* before, const float* after, int64_t count, int bins, ThreadPool& pool);

}  // namespace kvant
