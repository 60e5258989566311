#pragma once
#include <cstdint>
#include <string>

#include "cpu/quantize/quantize_kernels.h"
#include "kvant/format.h"
#include "kvant/thread_pool.h"

namespace kvant {

// A symmetric format of 8 or fewer bits as AbsMax quantization sees it.
struct CodeFormat {
  const char* name;  // as in packages/formats
  float limit;       // largest magnitude
  int stored_bits;   // 8, or 4 for everything narrower
  QuantizeRow QuantizeKernels::*quantize_row;
};

// Null for a name that is none of them.
const CodeFormat* code_format(const std::string& name);

// One matrix [rows, cols] and where its codes and scales go, in the layout of packages/formats `QuantizedTensor`.
struct AbsMaxQuantization {
  const float* values;
  int64_t rows, cols;
  const CodeFormat* format;
  int64_t group_size;  // values per scale along a row; -1: one scale per row; -2: one for the matrix
  uint8_t* codes;      // [rows, row bytes]
  float* scales;       // [rows, groups], [rows] or [1]

  int64_t row_bytes() const { return (cols * format->stored_bits + 7) / 8; }
  int64_t scale_count() const {
    if (group_size == -2) return 1;
    return group_size == -1 ? rows : rows * ((cols + group_size - 1) / group_size);
  }
};

// scale = absmax / limit;  code = encode(clamp(x / scale)): the bits of packages/formats `quantizeSymmetric`. Reads the values
// once (twice with one scale for the matrix) and writes each code once.
void quantize_absmax(const AbsMaxQuantization& matrix, const QuantizeKernels& kernels, ThreadPool& pool);

}  // namespace kvant
