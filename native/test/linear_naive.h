#pragma once
// Quantization and rounding as slow and obvious as possible: nearest numbers are searched in the list of all numbers.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kvant/linear.h"

namespace kvant_test {

using kvant::Format;
using kvant::MatrixSpec;
using kvant::Scales;

// xorshift32; the same numbers on every platform.
struct Random {
  uint32_t state;
  uint32_t next() {
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    return state;
  }
  float uniform() { return static_cast<float>(next() >> 8) / 8388608.0f - 1.0f; }
};

// All finite numbers of a small float format in ascending order of magnitude, from the definition.
inline std::vector<double> magnitudes(int exponent_bits, int mantissa_bits, int count) {
  std::vector<double> values;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  for (int code = 0; code < count; code++) {
    const int exponent = code >> mantissa_bits, mantissa = code & ((1 << mantissa_bits) - 1);
    values.push_back(exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                                   : std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits));
  }
  return values;
}

inline const std::vector<double>& grid(Format format) {
  static const std::vector<double> e4m3 = magnitudes(4, 3, 127), e5m2 = magnitudes(5, 2, 124), e2m1 = magnitudes(2, 1, 8),
                                   fp16 = magnitudes(5, 10, 0x7c00), bf16 = magnitudes(8, 7, 0x7f80);
  switch (format) {
    case Format::e4m3: return e4m3;
    case Format::e5m2: return e5m2;
    case Format::e2m1: return e2m1;
    case Format::fp16: return fp16;
    default: return bf16;
  }
}

// Nearest number of the format; of two equally near the one with the even code.
inline double nearest(float value, Format format) {
  const std::vector<double>& values = grid(format);
  const double magnitude = std::fabs(static_cast<double>(value));
  const size_t above = std::lower_bound(values.begin(), values.end(), magnitude) - values.begin();
  size_t code = above;
  if (above == values.size()) {
    code = above - 1;
  } else if (above > 0) {
    const double up = values[above] - magnitude, down = magnitude - values[above - 1];
    if (down < up || (down == up && (above - 1) % 2 == 0)) code = above - 1;
  }
  return std::copysign(values[code], static_cast<double>(value));
}

inline double quantized(float value, float scale, Format format) {
  if (scale == 0) return 0;
  const float quotient = value / scale;
  const float limit = kvant::max_value(format);
  const float clamped = std::min(limit, std::max(-limit, quotient));
  if (format == Format::int8 || format == Format::int4) return std::nearbyint(clamped);
  return nearest(clamped, format);
}

inline float absmax_scale(const float* values, int64_t count, Format format) {
  float largest = 0;
  for (int64_t i = 0; i < count; i++) largest = std::max(largest, std::fabs(values[i]));
  return largest / kvant::max_value(format);
}

struct Naive {
  std::vector<double> codes;  // [rows, cols]
  std::vector<float> scales;  // [rows, cols]
};

// [values, values + count) in affine codes, less their zero point.
inline void quantize_affine(const float* values, int64_t count, Format format, float& scale, double* codes) {
  const double high = kvant::max_value(format), low = -high - 1;
  float smallest = 0, largest = 0;
  for (int64_t i = 0; i < count; i++) smallest = std::min(smallest, values[i]), largest = std::max(largest, values[i]);
  const float steps = static_cast<float>(high - low);
  scale = largest / steps - smallest / steps;
  const double zero = scale == 0 ? 0 : std::clamp(std::nearbyint(low - static_cast<double>(smallest / scale)), low, high);
  for (int64_t i = 0; i < count; i++) {
    const double rounded = scale == 0 ? 0 : std::nearbyint(static_cast<double>(values[i] / scale));
    codes[i] = std::clamp(rounded + zero, low, high) - zero;
  }
}

// The largest power of two at most absmax, less the two of E2M1's top binade; at least 2^-127.
inline float power_of_two_scale(float absmax) {
  if (absmax == 0) return std::ldexp(1.0f, -127);
  return std::ldexp(1.0f, std::max(-127, std::ilogb(absmax) - 2));
}

inline Naive quantize_weights(const MatrixSpec& spec, const std::vector<float>& w, int64_t first_row, int64_t rows) {
  Naive out{std::vector<double>(w.size()), std::vector<float>(w.size(), 1.0f)};
  const int64_t begin = first_row * spec.cols, end = begin + rows * spec.cols;
  if (spec.group_size == 0) {
    for (int64_t i = begin; i < end; i++) out.codes[i] = spec.format == Format::fp32 ? w[i] : nearest(w[i], spec.format);
    return out;
  }
  const float most = absmax_scale(&w[begin], end - begin, Format::e2m1);
  const float tensor = most / kvant::max_value(Format::e4m3);  // e4m3 scales only
  for (int64_t first = begin, last; first < end; first = last) {
    const int64_t row_end = (first / spec.cols + 1) * spec.cols;
    last = spec.group_size == -2 ? end : spec.group_size == -1 ? row_end : std::min(first + spec.group_size, row_end);
    float scale = absmax_scale(&w[first], last - first, spec.format);
    if (spec.scales == Scales::affine) {
      quantize_affine(&w[first], last - first, spec.format, scale, &out.codes[first]);
      std::fill_n(out.scales.begin() + first, last - first, scale);
      continue;
    }
    if (spec.scales == Scales::e8m0) scale = power_of_two_scale(scale * 6);
    if (spec.scales == Scales::e4m3) scale = tensor > 0 ? static_cast<float>(nearest(scale / tensor, Format::e4m3)) * tensor : 0;
    for (int64_t i = first; i < last; i++) {
      out.scales[i] = scale;
      out.codes[i] = quantized(w[i], scale, spec.format);
    }
  }
  return out;
}

}  // namespace kvant_test
