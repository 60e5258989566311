#include "cpu/executor_weights.h"

#include <cstring>
#include <new>

#include "cpu/linear/float_codes.h"
#include "plan/error.h"

namespace kvant {
namespace {

float read_value(const uint8_t* source, int64_t index, Format dtype) {
  if (dtype == Format::fp32) {
    float value;
    std::memcpy(&value, source + index * 4, 4);
    return value;
  }
  uint16_t code;
  std::memcpy(&code, source + index * 2, 2);
  return linear::decode_float(code, dtype);
}

void write_value(uint8_t* target, int64_t index, Format format, float value) {
  if (format == Format::fp32) {
    std::memcpy(target + index * 4, &value, 4);
    return;
  }
  const auto code = static_cast<uint16_t>(linear::encode_float(value, linear::float_definition(format)));
  std::memcpy(target + index * 2, &code, 2);
}

}  // namespace

LoadedWeight::LoadedWeight(const WeightSpec& spec, const std::string& name, Tier tier)
    : spec_(spec), name_(name), rows_(spec, name) {
  // Vectors are kept as float32 whatever the checkpoint holds.
  if (spec_.kind == WeightSpec::Kind::vector) spec_.format = Format::fp32;
  if (spec_.kind != WeightSpec::Kind::matrix) {
    values_ = PageMemory(static_cast<size_t>(spec_.rows * spec_.cols * bits(spec_.format) / 8), name);
    return;
  }
  try {
    matrix_ = make_matrix({spec_.rows, spec_.cols, spec_.format, spec_.group_size, spec_.activation,
                           spec_.activation_scale, spec_.scales},
                          tier);
  } catch (const std::invalid_argument& error) {
    throw Error("OP_UNSUPPORTED", name_ + ": " + error.what());
  } catch (const std::bad_alloc&) {
    throw Error("OUT_OF_MEMORY", "no memory for the " + std::to_string(spec_.rows * spec_.cols * bits(spec_.format) / 8) +
                                     " bytes of codes of " + name_);
  }
}

void LoadedWeight::load(int64_t row_offset, int64_t rows, Format dtype, const uint8_t* source, size_t source_bytes,
                        ThreadPool& pool) {
  rows_.check(row_offset, rows, dtype, source_bytes);
  // Tensors of a checkpoint file may begin at any byte.
  std::vector<uint8_t> aligned;
  if (reinterpret_cast<uintptr_t>(source) % (bits(dtype) / 8) != 0) {
    aligned.assign(source, source + source_bytes);
    source = aligned.data();
  }
  if (matrix_) {
    matrix_->load_rows(row_offset, rows, dtype, source, pool);
  } else {
    copy_rows(row_offset, rows, dtype, source, pool);
  }
  rows_.arrive(row_offset, rows);
}

void LoadedWeight::load(int64_t row_offset, int64_t rows, const CodedSource& source, ThreadPool& pool) {
  const CodedRows checked = rows_.check(row_offset, rows, source);
  matrix_->load_codes(row_offset, checked, pool);
  rows_.arrive(row_offset, rows);
}

void LoadedWeight::copy_rows(int64_t row_offset, int64_t rows, Format dtype, const uint8_t* source, ThreadPool& pool) {
  const int64_t width = spec_.cols;
  uint8_t* const target = values_.as<uint8_t>() + row_offset * width * bits(spec_.format) / 8;
  const auto copy = [&](int64_t begin, int64_t end, int) {
    if (dtype == spec_.format) {
      const int64_t row_bytes = width * bits(dtype) / 8;
      std::memcpy(target + begin * row_bytes, source + begin * row_bytes, static_cast<size_t>((end - begin) * row_bytes));
      return;
    }
    for (int64_t i = begin * width; i < end * width; i++) write_value(target, i, spec_.format, read_value(source, i, dtype));
  };
  pool.parallel_for(rows, 64, std::ref(copy));
}

}  // namespace kvant
