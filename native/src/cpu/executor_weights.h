#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "cpu/page_memory.h"
#include "kvant/linear.h"
#include "kvant/thread_pool.h"
#include "plan/plan.h"
#include "plan/weight_rows.h"

namespace kvant {

// A weight of a plan in the form that its ops read: a packed matrix, a table in a float format, or float32 values.
class LoadedWeight {
 public:
  // Throws Error OP_UNSUPPORTED when there is no kernel for the scheme.
  LoadedWeight(const WeightSpec& spec, const std::string& name, Tier tier);

  // Rows [row_offset, row_offset + rows) from `source` [rows, cols] of dtype fp32, bf16 or fp16; any alignment. Throws Error
  // TENSOR_SHAPE when rows or bytes do not fit, or when a row arrives twice.
  void load(int64_t row_offset, int64_t rows, Format dtype, const uint8_t* source, size_t source_bytes, ThreadPool& pool);
  // The same rows as codes and scales, taken as they are. Throws Error INVALID_ARGUMENT for a weight that is held without scales.
  void load(int64_t row_offset, int64_t rows, const CodedSource& source, ThreadPool& pool);

  bool complete() const { return rows_.complete(); }
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
  WeightRows rows_;
};

}  // namespace kvant
