#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "cpu/page_memory.h"
#include "kvant/linear.h"
#include "kvant/thread_pool.h"
#include "plan/plan.h"

namespace kvant {

// A weight of a plan in the form that its ops read: a packed matrix, a table in a float format, or float32 values.
class LoadedWeight {
 public:
  // Throws Error OP_UNSUPPORTED when there is no kernel for the scheme.
  LoadedWeight(const WeightSpec& spec, const std::string& name, Tier tier);

  // Rows [row_offset, row_offset + rows) from `source` [rows, cols] of dtype fp32, bf16 or fp16; any alignment. Throws Error
  // TENSOR_SHAPE when rows or bytes do not fit, or when a row arrives twice.
  void load(int64_t row_offset, int64_t rows, Format dtype, const uint8_t* source, size_t source_bytes, ThreadPool& pool);

  bool complete() const { return missing_rows_ == 0; }
  size_t bytes() const { return matrix_ ? matrix_->bytes() : values_.bytes(); }

  const Matrix& matrix() const { return *matrix_; }
  const float* vector() const { return values_.as<float>(); }
  const void* table() const { return values_.data(); }
  Format table_format() const { return spec_.format; }

 private:
  void copy_rows(int64_t row_offset, int64_t rows, Format dtype, const uint8_t* source, ThreadPool& pool);

  WeightSpec spec_;
  std::string name_;
  std::unique_ptr<Matrix> matrix_;  // kind matrix
  PageMemory values_;               // kinds table and vector
  std::vector<bool> loaded_;        // [rows]
  int64_t missing_rows_;
};

}  // namespace kvant
