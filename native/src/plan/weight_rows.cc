#include "plan/weight_rows.h"

#include "plan/error.h"

namespace kvant {

WeightRows::WeightRows(const WeightSpec& spec, const std::string& name)
    : spec_(spec), name_(name), arrived_(static_cast<size_t>(spec.rows)), missing_(spec.rows) {}

void WeightRows::check(int64_t row_offset, int64_t rows, Format dtype, size_t source_bytes) const {
  check_range(row_offset, rows);
  const int64_t wanted = rows * spec_.cols * bits(dtype) / 8;
  if (source_bytes != static_cast<size_t>(wanted)) {
    throw Error("TENSOR_SHAPE", name_ + ": " + std::to_string(rows) + " x " + std::to_string(spec_.cols) + " values take " +
                                    std::to_string(wanted) + " bytes, not " + std::to_string(source_bytes));
  }
  check_new(row_offset, rows);
}

CodedRows WeightRows::check(int64_t row_offset, int64_t rows, const CodedSource& source) const {
  if (spec_.kind != WeightSpec::Kind::matrix || bits(spec_.format) > 8) throw invalid(name_ + " is held without scales, not as codes");
  check_range(row_offset, rows);
  const int64_t scales = scale_count(spec_.group_size, rows, spec_.cols);
  const bool bytes = spec_.scales == Scales::e8m0 || spec_.scales == Scales::e4m3;
  check_length("bytes of codes", source.codes.size(), rows * code_row_bytes(bits(spec_.format), spec_.cols));
  check_length("scales", source.scales.size(), bytes ? 0 : scales);
  check_length("codes of scales", source.scale_codes.size(), bytes ? scales : 0);
  check_length("codes of zero", source.zeros.size(), spec_.scales == Scales::affine ? scales : 0);
  check_new(row_offset, rows);
  return {.rows = rows,
          .codes = source.codes.data(),
          .scales = bytes ? nullptr : source.scales.data(),
          .scale_codes = bytes ? source.scale_codes.data() : nullptr,
          .zeros = spec_.scales == Scales::affine ? source.zeros.data() : nullptr,
          .tensor_scale = source.tensor_scale};
}

void WeightRows::arrive(int64_t row_offset, int64_t rows) {
  for (int64_t row = row_offset; row < row_offset + rows; row++) arrived_[static_cast<size_t>(row)] = true;
  missing_ -= rows;
}

void WeightRows::check_range(int64_t row_offset, int64_t rows) const {
  if (row_offset >= 0 && rows >= 1 && row_offset <= spec_.rows && rows <= spec_.rows - row_offset) return;
  throw Error("TENSOR_SHAPE", name_ + ": rows " + std::to_string(row_offset) + " to " + std::to_string(row_offset + rows - 1) +
                                  " leave its " + std::to_string(spec_.rows) + " rows");
}

void WeightRows::check_new(int64_t row_offset, int64_t rows) const {
  for (int64_t row = row_offset; row < row_offset + rows; row++) {
    if (arrived_[static_cast<size_t>(row)]) throw Error("TENSOR_SHAPE", name_ + ": row " + std::to_string(row) + " arrived twice");
  }
}

void WeightRows::check_length(const char* what, size_t length, int64_t wanted) const {
  if (length == static_cast<size_t>(wanted)) return;
  throw Error("TENSOR_SHAPE", name_ + ": " + std::to_string(wanted) + " " + what + " are wanted, not " + std::to_string(length));
}

}  // namespace kvant
