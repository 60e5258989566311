#pragma once
// The scale of a group from its smallest and largest value, and its place in memory (layout.h):
//   fp32    absmax / max, or the tensor's
//   affine  largest / (high - low) - smallest / (high - low);  zero = clamp(round(low - smallest / scale))
//   e8m0    2^(floor(log2(absmax)) - floor(log2(6)))
//   e4m3    e4m3(absmax / 6 / tensor scale) * tensor scale
// float32 operations rounded to nearest even, so that results have the bits of src/cpu/linear/quantize_row.cc.
#include "cpu/linear/float_codes.h"
#include "layout.h"

namespace kvant::cuda::linear {

// Of some values and zero; NaN is ignored, infinity counts as the largest float32.
struct Range {
  float smallest = 0, largest = 0;
  __device__ void add(float value) {
    constexpr float kMost = 3.40282347e38f;
    if (value < smallest) smallest = fmaxf(value, -kMost);
    if (value > largest) largest = fminf(value, kMost);
  }
  __device__ float absmax() const { return fmaxf(largest, -smallest); }
};

struct GroupScale {
  float scale = 0;
  float zero = 0;    // affine: the code of zero
  uint32_t code = 0;  // e8m0 and e4m3: the scale as held
};

// `limit`: largest code of the weights; `tensor_scale`: negative where the scale is not the tensor's.
__device__ inline GroupScale group_scale(Scales scales, const Range& range, float limit, float tensor_scale) {
  GroupScale out;
  switch (scales) {
    case Scales::fp32: out.scale = tensor_scale >= 0 ? tensor_scale : fminf(range.absmax(), max_value(Format::fp32)) / limit; break;
    case Scales::affine: {
      const float low = -limit - 1, steps = limit - low;
      out.scale = range.largest / steps - range.smallest / steps;
      if (out.scale == 0) break;
      // The difference is exact in float64 and would be rounded twice in float32.
      const double zero = rint(static_cast<double>(low) - static_cast<double>(range.smallest / out.scale));
      out.zero = static_cast<float>(fmin(fmax(zero, static_cast<double>(low)), static_cast<double>(limit)));
      break;
    }
    case Scales::e8m0: {
      const int exponent = static_cast<int>(__float_as_uint(range.absmax()) >> 23);
      constexpr int kLargestElementExponent = 2;
      out.code = static_cast<uint32_t>(max(exponent - kLargestElementExponent, 0));
      out.scale = kvant::linear::decode_e8m0(out.code);
      break;
    }
    case Scales::e4m3:
      if (!(tensor_scale > 0)) break;
      out.code = kvant::linear::encode_float(range.absmax() / limit / tensor_scale, kvant::linear::float_definition(Format::e4m3));
      out.scale = kvant::linear::decode_float(out.code, Format::e4m3) * tensor_scale;
      break;
  }
  return out;
}

// `part`: which of the two scales of an e4m3 group.
__device__ inline void store_scale(const Layout& layout, int row, int group, int part, const GroupScale& from, uint8_t* scales) {
  uint8_t* run = scales + layout.run_at(row, group);
  const int at = row % kTileRows;
  switch (layout.scales) {
    case Scales::affine: reinterpret_cast<int8_t*>(run)[kTileRows * 4 + at] = static_cast<int8_t>(from.zero); [[fallthrough]];
    case Scales::fp32: reinterpret_cast<float*>(run)[at] = from.scale; break;
    case Scales::e8m0: run[at] = static_cast<uint8_t>(from.code); break;
    case Scales::e4m3: run[part * kTileRows + at] = static_cast<uint8_t>(from.code); break;
  }
}

__device__ inline GroupScale stored_scale(const Layout& layout, int row, int group, int part, const uint8_t* scales) {
  const uint8_t* run = scales + layout.run_at(row, group);
  const int at = row % kTileRows;
  GroupScale out;
  switch (layout.scales) {
    case Scales::affine: out.zero = reinterpret_cast<const int8_t*>(run)[kTileRows * 4 + at]; [[fallthrough]];
    case Scales::fp32: out.scale = reinterpret_cast<const float*>(run)[at]; break;
    case Scales::e8m0: out.scale = kvant::linear::decode_e8m0(run[at]); break;
    case Scales::e4m3:
      out.scale = kvant::linear::decode_float(run[part * kTileRows + at], Format::e4m3) *
          reinterpret_cast<const float*>(scales + layout.row_scales_at())[row];
      break;
  }
  return out;
}

}  // namespace kvant::cuda::linear
