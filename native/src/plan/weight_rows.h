#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kvant/coded_rows.h"
#include "plan/plan.h"

namespace kvant {

// Codes and scales of rows of a matrix as they reach the addon: the arrays of CodedRows, empty where the format has none.
struct CodedSource {
  std::span<const uint8_t> codes;
  std::span<const float> scales;
  std::span<const uint8_t> scale_codes;
  std::span<const int8_t> zeros;
  float tensor_scale = 0;
};

// Which rows of a weight have arrived, and whether those that arrive now fit. Throws Error TENSOR_SHAPE where they do not.
class WeightRows {
 public:
  WeightRows(const WeightSpec& spec, const std::string& name);

  // Rows [row_offset, row_offset + rows) of numbers of `dtype` in `source_bytes`.
  void check(int64_t row_offset, int64_t rows, Format dtype, size_t source_bytes) const;
  // The same rows as codes. Throws Error INVALID_ARGUMENT for a weight that is held without scales.
  CodedRows check(int64_t row_offset, int64_t rows, const CodedSource& source) const;
  void arrive(int64_t row_offset, int64_t rows);

  bool complete() const { return missing_ == 0; }

 private:
  void check_range(int64_t row_offset, int64_t rows) const;
  void check_new(int64_t row_offset, int64_t rows) const;
  void check_length(const char* what, size_t length, int64_t wanted) const;

  WeightSpec spec_;
  std::string name_;
  std::vector<bool> arrived_;  // [rows]
  int64_t missing_;
};

}  // namespace kvant
