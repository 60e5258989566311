// scale = absmax / max;  code = encode(clamp(x / scale, -max, max)), float32 divisions: the bits of packages/formats
// `quantizeSymmetric`; affine and block scales as `quantizeAffine` and `quantizeBlocks` there. Runs once per weight at load.
#include "quantize_row.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "float_codes.h"

namespace kvant::linear {
namespace {

float clamp(float value, float low, float high) {
  const float at_most = value < high ? value : high;
  return at_most > low ? at_most : low;
}

// Nearest integer, ties to even, of |value| < 2^22: floats in [2^23, 2^24) are one apart.
float round_half_even(float value) {
  constexpr float kSpacing = 12582912.0f;
  return (value + kSpacing) - kSpacing;
}

//   scale = largest / (high - low) - smallest / (high - low);  zero = clamp(round(low - smallest / scale))
// over the group's range, widened to contain zero.
GroupScale affine_scale(const float* values, int64_t count, float limit) {
  float smallest = 0, largest = 0;
  for (int64_t i = 0; i < count; i++) {
    smallest = values[i] < smallest ? values[i] : smallest;
    largest = values[i] > largest ? values[i] : largest;
  }
  constexpr float kMost = std::numeric_limits<float>::max();
  smallest = smallest > -kMost ? smallest : -kMost;
  largest = largest < kMost ? largest : kMost;
  const float low = -limit - 1, steps = limit - low;
  GroupScale group;
  group.scale = largest / steps - smallest / steps;
  if (group.scale == 0) return group;
  // The difference is exact in float64 and would be rounded twice in float32.
  const double zero = std::nearbyint(static_cast<double>(low) - static_cast<double>(smallest / group.scale));
  group.zero = static_cast<float>(zero < low ? low : zero > limit ? limit : zero);
  return group;
}

// 2^(floor(log2(absmax)) - floor(log2(6))), OCP Microscaling.
GroupScale e8m0_scale(float absmax) {
  const int exponent = static_cast<int>(std::bit_cast<uint32_t>(absmax) >> 23);
  constexpr int kLargestElementExponent = 2;
  GroupScale group;
  group.code = static_cast<uint8_t>(exponent > kLargestElementExponent ? exponent - kLargestElementExponent : 0);
  group.scale = decode_e8m0(group.code);
  return group;
}

// e4m3(absmax / 6 / tensor_scale), and values are divided by the scale as rounded.
GroupScale e4m3_scale(float absmax, float limit, float tensor_scale) {
  GroupScale group;
  if (tensor_scale > 0) {
    group.code = static_cast<uint8_t>(encode_float(absmax / limit / tensor_scale, float_definition(Format::e4m3)));
    group.scale = decode_float(group.code, Format::e4m3) * tensor_scale;
  }
  return group;
}

// codes[i] = clamp(round(x[i] / scale) + zero); NaN takes the code of zero.
void quantize_affine(const float* x, int64_t count, const GroupScale& group, float limit, int8_t* codes) {
  const float low = -limit - 1;
  for (int64_t i = 0; i < count; i++) {
    const float quotient = x[i] / group.scale;
    const float number = quotient == quotient ? quotient : 0.0f;
    const float code = round_half_even(clamp(number, 2 * low, 2 * limit + 1)) + group.zero;
    codes[i] = static_cast<int8_t>(static_cast<int32_t>(clamp(code, low, limit)));
  }
}

// The scale of `count` values of a group.
GroupScale group_scale(const MatrixSpec& spec, const LinearKernels& kernels, const float* values, int64_t count, float tensor_scale) {
  const float limit = max_value(spec.format);
  switch (spec.scales) {
    case Scales::fp32: return {.scale = tensor_scale >= 0 ? tensor_scale : kernels.absmax(values, count) / limit};
    case Scales::affine: return affine_scale(values, count, limit);
    case Scales::e8m0: return e8m0_scale(kernels.absmax(values, count));
    case Scales::e4m3: return e4m3_scale(kernels.absmax(values, count), limit, tensor_scale);
  }
  return {};
}

}  // namespace

void widen(Format dtype, const void* source, int64_t columns, float* out) {
  if (dtype == Format::fp32) {
    std::memcpy(out, source, static_cast<size_t>(columns) * sizeof(float));
    return;
  }
  const uint16_t* codes = static_cast<const uint16_t*>(source);
  if (dtype == Format::bf16) {
    for (int64_t k = 0; k < columns; k++) out[k] = std::bit_cast<float>(static_cast<uint32_t>(codes[k]) << 16);
  } else {
    for (int64_t k = 0; k < columns; k++) out[k] = decode_float(codes[k], Format::fp16);
  }
}

void quantize_row(const PackedLayout& layout, const MatrixSpec& spec, const LinearKernels& kernels, const float* values,
                  float tensor_scale, CodedRow& out) {
  const float limit = max_value(spec.format);
  const bool integers = spec.format == Format::int8 || spec.format == Format::int4;
  const FloatDefinition definition = float_definition(spec.format);
  for (int64_t index = 0; index < layout.group_count; index++) {
    const int64_t begin = index * layout.group_cols, count = std::min(layout.group_cols, layout.cols - begin);
    const float* const from = values + begin;
    int8_t* const codes = out.codes.data() + begin;
    const GroupScale group = group_scale(spec, kernels, from, count, tensor_scale);
    out.groups[static_cast<size_t>(index)] = group;
    if (!(group.scale > 0)) {
      std::fill_n(codes, count, int8_t{0});
    } else if (spec.scales == Scales::affine) {
      quantize_affine(from, count, group, limit, codes);
    } else if (integers) {
      kernels.quantize(from, count, group.scale, limit, codes);
    } else {
      for (int64_t k = 0; k < count; k++) codes[k] = static_cast<int8_t>(encode_float(from[k] / group.scale, definition));
    }
  }
}

}  // namespace kvant::linear
