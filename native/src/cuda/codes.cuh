#pragma once
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>

#include "cpu/linear/float_codes.h"
#include "kvant/format.h"

namespace kvant::cuda {

// One stored number per format: decode is exact, encode has the bits of packages/formats (nearest, ties to even, saturating).
template <Format format>
struct Codes;

template <>
struct Codes<Format::fp32> {
  using Code = float;
  static __device__ float decode(Code code) { return code; }
  static __device__ Code encode(float x) { return x; }
};

template <>
struct Codes<Format::bf16> {
  using Code = uint16_t;
  static __device__ float decode(Code code) { return __uint_as_float(static_cast<uint32_t>(code) << 16); }
  static __device__ Code encode(float x) {
    return static_cast<Code>(kvant::linear::encode_float(x, kvant::linear::float_definition(Format::bf16)));
  }
};

template <>
struct Codes<Format::fp16> {
  using Code = uint16_t;
  static __device__ float decode(Code code) { return __half2float(__ushort_as_half(code)); }
  static __device__ Code encode(float x) {
    return static_cast<Code>(kvant::linear::encode_float(x, kvant::linear::float_definition(Format::fp16)));
  }
};

template <>
struct Codes<Format::e4m3> {
  using Code = uint8_t;
  static __device__ float decode(Code code) { return __half2float(__half(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3))); }
  static __device__ Code encode(float x) {
    return __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);  // the bits of encode_float
  }
};

template <>
struct Codes<Format::e5m2> {
  using Code = uint8_t;
  static __device__ float decode(Code code) { return __half2float(__half(__nv_cvt_fp8_to_halfraw(code, __NV_E5M2))); }
  static __device__ Code encode(float x) {
    return static_cast<Code>(kvant::linear::encode_float(x, kvant::linear::float_definition(Format::e5m2)));
  }
};

template <>
struct Codes<Format::int8> {
  using Code = uint8_t;
  static __device__ float decode(Code code) { return static_cast<float>(static_cast<int8_t>(code)); }
  // NaN becomes 0.
  static __device__ Code encode(float x) {
    if (x != x) return 0;
    return static_cast<Code>(static_cast<int8_t>(__float2int_rn(fminf(fmaxf(x, -127.0f), 127.0f))));
  }
};

// Calls body with FormatTag<format>, so that the format is a constant inside. 4-bit formats are stored by linear alone.
template <Format value>
struct FormatTag {
  static constexpr Format format = value;
};
template <typename Body>
void with_format(Format format, const Body& body) {
  switch (format) {
    case Format::bf16: return body(FormatTag<Format::bf16>());
    case Format::fp16: return body(FormatTag<Format::fp16>());
    case Format::int8: return body(FormatTag<Format::int8>());
    case Format::e4m3: return body(FormatTag<Format::e4m3>());
    case Format::e5m2: return body(FormatTag<Format::e5m2>());
    default: return body(FormatTag<Format::fp32>());
  }
}

}  // namespace kvant::cuda
