// scale = absmax / max;  code = encode(clamp(x / scale, -max, max)), float32 divisions: the bits of packages/formats
// `quantizeSymmetric`; affine and block scales as `quantizeAffine` and `quantizeBlocks` there. Runs once per weight at load: reads N * K source values, writes N * K codes.
#include "pack_rows.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "float_codes.h"

namespace kvant::linear {
namespace {

constexpr int64_t kLanes = kLinearBlock;

// Writes `count` codes of one feature; `codes` is where the group begins, at the feature's word.
template <class Code>
void scatter(Format format, const Code* from, int64_t count, uint8_t* codes) {
  switch (format) {
    case Format::int8:
      for (int64_t k = 0; k < count; k++) codes[k / 4 * kLanes * 4 + k % 4] = static_cast<uint8_t>(from[k] + 128);
      break;
    case Format::int4:
    case Format::e2m1: {
      const int offset = format == Format::int4 ? 8 : 0;
      for (int64_t k = 0; k < count; k++) {
        uint8_t& pair = codes[k / 8 * kLanes * 4 + k % 4];
        const int shift = k / 4 % 2 * 4;
        pair = static_cast<uint8_t>((pair & ~(15 << shift)) | ((from[k] + offset) & 15) << shift);
      }
      break;
    }
    default:
      for (int64_t k = 0; k < count; k++) codes[k * kLanes] = static_cast<uint8_t>(from[k]);
  }
}

void pack_floats(const PackedLayout& layout, Format format, const float* values, uint8_t* codes) {
  for (int64_t k = 0; k < layout.cols; k++) {
    if (format == Format::fp32) {
      std::memcpy(codes + k * kLanes * 4, values + k, 4);
      continue;
    }
    const uint16_t code = static_cast<uint16_t>(encode_float(values[k], float_definition(format)));
    std::memcpy(format == Format::bf16 ? codes + k / 2 * kLanes * 4 + k % 2 * 2 : codes + k * kLanes * 2, &code, 2);
  }
}

float clamp(float value, float low, float high) {
  const float at_most = value < high ? value : high;
  return at_most > low ? at_most : low;
}

// Nearest integer, ties to even, of |value| < 2^22: floats in [2^23, 2^24) are one apart.
float round_half_even(float value) {
  constexpr float kSpacing = 12582912.0f;
  return (value + kSpacing) - kSpacing;
}

// What maps the values of a group to codes.
struct GroupScale {
  float scale = 0;
  float zero = 0;    // affine: the code of zero
  uint8_t code = 0;  // e8m0 and e4m3: the scale as held
};

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

// `scales` is where the group's scales begin.
void store_scale(Scales kind, const GroupScale& group, int64_t lane, uint8_t* scales) {
  if (kind == Scales::e8m0 || kind == Scales::e4m3) {
    scales[lane] = group.code;
    return;
  }
  std::memcpy(scales + lane * sizeof(float), &group.scale, sizeof(float));
  if (kind == Scales::affine) scales[kLanes * sizeof(float) + lane] = static_cast<uint8_t>(static_cast<int8_t>(group.zero));
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

void pack_row(const PackedLayout& layout, Format format, Scales scales, const LinearKernels& kernels, const float* values,
              int64_t row, float tensor_scale, uint8_t* weights) {
  const int64_t lane = row % kLanes;
  uint8_t* block = weights + row / kLanes * layout.block_bytes;
  const float limit = max_value(format);
  const bool integers = format == Format::int8 || format == Format::int4;
  for (int64_t index = 0; index < layout.group_count; index++) {
    uint8_t* codes = block + index * layout.group_bytes;
    uint8_t* scales_at = codes + layout.code_bytes(layout.padded_group(index));
    codes += lane * word_bytes(format);
    if (layout.code_bits > 8) {
      pack_floats(layout, format, values, codes);
      store_scale(scales, {.scale = 1.0f}, lane, scales_at);
      return;
    }
    const float* from = values + index * layout.group_cols;
    const int64_t rest = layout.cols - index * layout.group_cols;
    const int64_t count = rest < layout.group_cols ? rest : layout.group_cols;
    GroupScale group;
    switch (scales) {
      case Scales::fp32: group.scale = tensor_scale >= 0 ? tensor_scale : kernels.absmax(from, count) / limit; break;
      case Scales::affine: group = affine_scale(from, count, limit); break;
      case Scales::e8m0: group = e8m0_scale(kernels.absmax(from, count)); break;
      case Scales::e4m3: group = e4m3_scale(kernels.absmax(from, count), limit, tensor_scale); break;
    }
    // Codes go through a small buffer, so that groups of any width need no allocation.
    constexpr int64_t kChunk = 256;
    bool nan = false;
    for (int64_t begin = 0; begin < count; begin += kChunk) {
      const int64_t size = count - begin < kChunk ? count - begin : kChunk;
      int8_t buffer[kChunk] = {};
      if (group.scale > 0 && scales == Scales::affine) {
        quantize_affine(from + begin, size, group, limit, buffer);
      } else if (group.scale > 0 && integers) {
        kernels.quantize(from + begin, size, group.scale, limit, buffer);
      } else if (group.scale > 0) {
        const FloatDefinition definition = float_definition(format);
        for (int64_t k = 0; k < size; k++) {
          const uint32_t code = encode_float(from[begin + k] / group.scale, definition);
          nan |= definition.nan_code != 0 && code == definition.nan_code;
          buffer[k] = static_cast<int8_t>(code);
        }
      }
      const int64_t columns = 32 / layout.code_bits;  // kChunk is a multiple of these, so a chunk begins at a word
      scatter(format, buffer, size,
              codes + (word_bytes(format) == 4 ? begin / columns * kLanes * 4 : begin * kLanes));
    }
    // Kernels decode e4m3's one NaN code as a number; the scale carries the NaN to the result instead.
    if (nan) group.scale = std::numeric_limits<float>::quiet_NaN();
    store_scale(scales, group, lane, scales_at);
  }
  if (scales == Scales::e4m3) {
    std::memcpy(block + layout.block_bytes - (kLanes - lane) * sizeof(float), &tensor_scale, sizeof(float));
  }
}

}  // namespace kvant::linear
