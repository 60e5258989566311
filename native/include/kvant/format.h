#pragma once
#include <cstddef>
#include <cstdint>

namespace kvant {

// How one number is coded. Names and meaning as in packages/formats.
enum class Format { fp32, bf16, fp16, int8, int4, e4m3, e5m2, e2m1 };

// How the scale of a group is held, and what else it takes to dequantize the group's codes.
enum class Scales {
  fp32,    // symmetric: w = code * scale, a float32
  affine,  // w = (code - zero) * scale, a float32 and the code of zero as an int8; int8 and int4
  e8m0,    // a power of two as one byte, for 32 values; e2m1 (MXFP4)
  e4m3,    // one byte for 16 values, times a float32 for all of a load call; e2m1 (NVFP4)
};

// Bits of one code.
constexpr int bits(Format format) {
  switch (format) {
    case Format::fp32: return 32;
    case Format::bf16:
    case Format::fp16: return 16;
    case Format::int8:
    case Format::e4m3:
    case Format::e5m2: return 8;
    case Format::int4:
    case Format::e2m1: return 4;
  }
  return 0;
}

// Largest magnitude that AbsMax scaling maps to: scale = absmax / max_value.
constexpr float max_value(Format format) {
  switch (format) {
    case Format::int8: return 127.0f;
    case Format::int4: return 7.0f;
    case Format::e4m3: return 448.0f;
    case Format::e5m2: return 57344.0f;
    case Format::e2m1: return 6.0f;
    case Format::fp16: return 65504.0f;
    case Format::bf16: return 3.38953139e38f;
    case Format::fp32: return 3.402823466e38f;
  }
  return 0;
}

}  // namespace kvant
