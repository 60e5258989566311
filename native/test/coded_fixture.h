// Rows of random codes and scales, any finite code beside any other, and the values that they stand for.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kvant/coded_rows.h"
#include "linear_naive.h"

namespace kvant_test {

struct CodedMatrix {
  std::vector<uint8_t> codes;  // as CodedRows
  std::vector<float> scales;
  std::vector<uint8_t> scale_codes;
  std::vector<int8_t> zeros;
  float tensor_scale = 0;
  std::vector<float> values;  // [rows, cols]

  kvant::CodedRows rows(int64_t count) const {
    return {.rows = count,
            .codes = codes.data(),
            .scales = scales.empty() ? nullptr : scales.data(),
            .scale_codes = scale_codes.empty() ? nullptr : scale_codes.data(),
            .zeros = zeros.empty() ? nullptr : zeros.data(),
            .tensor_scale = tensor_scale};
  }
};

// The number of a code of 8 or 4 bits; codes that are no finite number become one.
inline double decode_or_fix(Format format, uint8_t& code) {
  if (format == Format::int8) return static_cast<int8_t>(code);
  if (format == Format::int4) return code < 8 ? code : code - 16;
  const std::vector<double>& numbers = grid(format);
  const int sign = format == Format::e2m1 ? 8 : 128;
  if (static_cast<size_t>(code & (sign - 1)) >= numbers.size()) code &= static_cast<uint8_t>(sign | 1);
  const double magnitude = numbers[static_cast<size_t>(code & (sign - 1))];
  return code & sign ? -magnitude : magnitude;
}

inline CodedMatrix random_codes(const MatrixSpec& spec, Random& random) {
  const int code_bits = kvant::bits(spec.format);
  const int64_t row_bytes = kvant::code_row_bytes(code_bits, spec.cols);
  const int64_t scales = kvant::scale_count(spec.group_size, spec.rows, spec.cols);
  const int high = spec.format == Format::int8 ? 127 : 7;
  CodedMatrix out;
  out.codes.resize(static_cast<size_t>(spec.rows * row_bytes));
  out.values.resize(static_cast<size_t>(spec.rows * spec.cols));
  std::vector<float> factors(static_cast<size_t>(scales));
  if (spec.scales == Scales::e4m3) out.tensor_scale = 0.0137f;
  for (int64_t i = 0; i < scales; i++) {
    float& factor = factors[static_cast<size_t>(i)];
    factor = (random.uniform() + 1.5f) * 0.01f;
    if (spec.scales == Scales::e8m0) {
      out.scale_codes.push_back(static_cast<uint8_t>(random.next() % 140));
      factor = std::ldexp(1.0f, out.scale_codes.back() - 127);
    } else if (spec.scales == Scales::e4m3) {
      uint8_t code = static_cast<uint8_t>(random.next() % 127);
      factor = static_cast<float>(decode_or_fix(Format::e4m3, code)) * out.tensor_scale;
      out.scale_codes.push_back(code);
    } else {
      out.scales.push_back(factor);
    }
    if (spec.scales == Scales::affine) out.zeros.push_back(static_cast<int8_t>(static_cast<int>(random.next() % (2 * high + 2)) - high - 1));
  }
  for (int64_t row = 0; row < spec.rows; row++) {
    for (int64_t k = 0; k < spec.cols; k++) {
      uint8_t code = static_cast<uint8_t>(random.next() >> 8);
      if (k == 0) code = 0x88;  // the lowest int4
      if (k == 1) code = 0x80;  // the lowest int8
      if (code_bits == 4) code &= 15;
      const double number = decode_or_fix(spec.format, code);
      uint8_t& byte = out.codes[static_cast<size_t>(row * row_bytes + k * code_bits / 8)];
      byte = code_bits == 8 ? code : static_cast<uint8_t>(byte | code << (k % 2 * 4));
      const int64_t group = spec.group_size > 0 ? row * ((spec.cols + spec.group_size - 1) / spec.group_size) + k / spec.group_size
          : spec.group_size == -1               ? row
                                                : 0;
      const double zero = out.zeros.empty() ? 0 : out.zeros[static_cast<size_t>(group)];
      out.values[static_cast<size_t>(row * spec.cols + k)] = static_cast<float>(number - zero) * factors[static_cast<size_t>(group)];
    }
  }
  return out;
}

struct CodedFormat {
  Format format;
  int group_size;
  Scales scales = Scales::fp32;
};

inline std::vector<CodedFormat> coded_formats() {
  std::vector<CodedFormat> out;
  for (Format format : {Format::int8, Format::int4, Format::e4m3, Format::e5m2, Format::e2m1}) {
    for (int group : {-1, -2, 32, 64, 128, 48, 7}) out.push_back({format, group});
  }
  for (Format format : {Format::int8, Format::int4}) {
    for (int group : {-1, 32, 64, 128, 48, 7}) out.push_back({format, group, Scales::affine});
  }
  out.push_back({Format::e2m1, 32, Scales::e8m0});
  out.push_back({Format::e2m1, 16, Scales::e4m3});
  return out;
}

}  // namespace kvant_test
