// Codes and scales to the places where kernels read them (packed_layout.h). Runs once per weight at load.
#include "pack_rows.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "float_codes.h"

namespace kvant::linear {
namespace {

constexpr int64_t kLanes = kLinearBlock;

// Writes `count` codes of one feature; `codes` is where the group begins, at the feature's word.
void scatter(Format format, const int8_t* from, int64_t count, uint8_t* codes) {
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

// Whether a code of an 8-bit float is no number.
bool has_nan(Format format, const int8_t* codes, int64_t count) {
  if (format != Format::e4m3 && format != Format::e5m2) return false;
  const int largest = format == Format::e4m3 ? 0x7e : 0x7c;
  int most = 0;
  for (int64_t k = 0; k < count; k++) most = std::max(most, codes[k] & 0x7f);
  return most > largest;
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

void pack_float_row(const PackedLayout& layout, Format format, const float* values, int64_t row, uint8_t* weights) {
  const int64_t lane = row % kLanes;
  uint8_t* const block = weights + row / kLanes * layout.block_bytes;
  uint8_t* const codes = block + lane * word_bytes(format);
  for (int64_t k = 0; k < layout.cols; k++) {
    if (format == Format::fp32) {
      std::memcpy(codes + k * kLanes * 4, values + k, 4);
      continue;
    }
    const uint16_t code = static_cast<uint16_t>(encode_float(values[k], float_definition(format)));
    std::memcpy(format == Format::bf16 ? codes + k / 2 * kLanes * 4 + k % 2 * 2 : codes + k * kLanes * 2, &code, 2);
  }
  store_scale(Scales::fp32, {.scale = 1.0f}, lane, block + layout.code_bytes(layout.padded_cols));
}

void pack_row(const PackedLayout& layout, Format format, Scales scales, const CodedRow& from, float tensor_scale, int64_t row,
              uint8_t* weights) {
  const int64_t lane = row % kLanes;
  uint8_t* const block = weights + row / kLanes * layout.block_bytes;
  for (int64_t index = 0; index < layout.group_count; index++) {
    const int64_t begin = index * layout.group_cols, count = std::min(layout.group_cols, layout.cols - begin);
    const int8_t* const codes = from.codes.data() + begin;
    uint8_t* const to = block + index * layout.group_bytes;
    scatter(format, codes, count, to + lane * word_bytes(format));
    GroupScale group = from.groups[static_cast<size_t>(index)];
    // Kernels may decode a NaN code as a number; the scale carries the NaN to the result instead.
    if (has_nan(format, codes, count)) group.scale = std::numeric_limits<float>::quiet_NaN();
    store_scale(scales, group, lane, to + layout.code_bytes(layout.padded_group(index)));
  }
  if (scales == Scales::e4m3) {
    std::memcpy(block + layout.block_bytes - (kLanes - lane) * sizeof(float), &tensor_scale, sizeof(float));
  }
}

}  // namespace kvant::linear
