// scale = absmax / max;  code = encode(clamp(x / scale, -max, max)), float32 divisions: the bits of packages/formats
// `quantizeSymmetric`. Runs once per weight at load: reads N * K source values, writes N * K codes.
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

void pack_row(const PackedLayout& layout, Format format, const LinearKernels& kernels, const float* values, int64_t row,
              float tensor_scale, uint8_t* weights) {
  const int64_t lane = row % kLanes;
  uint8_t* block = weights + row / kLanes * layout.block_bytes;
  const float limit = max_value(format);
  for (int64_t group = 0; group < layout.group_count; group++) {
    uint8_t* codes = block + group * layout.group_bytes;
    float* scale_at = reinterpret_cast<float*>(codes + layout.code_bytes(layout.padded_group(group))) + lane;
    codes += lane * word_bytes(format);
    if (layout.code_bits > 8) {
      pack_floats(layout, format, values, codes);
      *scale_at = 1.0f;
      return;
    }
    const float* from = values + group * layout.group_cols;
    const int64_t rest = layout.cols - group * layout.group_cols;
    const int64_t count = rest < layout.group_cols ? rest : layout.group_cols;
    float scale = tensor_scale >= 0 ? tensor_scale : kernels.absmax(from, count) / limit;
    // Codes go through a small buffer, so that groups of any width need no allocation.
    constexpr int64_t kChunk = 256;
    bool nan = false;
    for (int64_t begin = 0; begin < count; begin += kChunk) {
      const int64_t size = count - begin < kChunk ? count - begin : kChunk;
      int8_t buffer[kChunk] = {};
      if (scale > 0 && (format == Format::int8 || format == Format::int4)) {
        kernels.quantize(from + begin, size, scale, limit, buffer);
      } else if (scale > 0) {
        const FloatDefinition definition = float_definition(format);
        for (int64_t k = 0; k < size; k++) {
          const uint32_t code = encode_float(from[begin + k] / scale, definition);
          nan |= definition.nan_code != 0 && code == definition.nan_code;
          buffer[k] = static_cast<int8_t>(code);
        }
      }
      const int64_t columns = 32 / layout.code_bits;  // kChunk is a multiple of these, so a chunk begins at a word
      scatter(format, buffer, size,
              codes + (word_bytes(format) == 4 ? begin / columns * kLanes * 4 : begin * kLanes));
    }
    // Kernels decode e4m3's one NaN code as a number; the scale carries the NaN to the result instead.
    *scale_at = nan ? std::numeric_limits<float>::quiet_NaN() : scale;
  }
}

}  // namespace kvant::linear
