#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "cuda/attention_kernels.h"
#include "cuda/codes.cuh"

namespace kvant::cuda {

// Whether the token's row brings at least kLongRow tokens to the step.
__device__ inline bool in_long_row(const StepTokens& tokens, int64_t token) {
  const int slot = tokens.slots[token];
  int run = 1;
  for (int64_t i = token - 1; i >= 0 && run < kLongRow && tokens.slots[i] == slot; i--) run++;
  for (int64_t i = token + 1; i < tokens.count && run < kLongRow && tokens.slots[i] == slot; i++) run++;
  return run >= kLongRow;
}

__device__ inline int lowest_position(int position, int window) { return window > 0 ? max(0, position - window + 1) : 0; }

// Four outputs from index `at` on.
__device__ __forceinline__ void write_four(const AttentionOutput& to, int64_t at, const float4& x) {
  const auto rounded = [&]<Format format>(FormatTag<format>) {
    const auto pair = [](float low, float high) {
      return static_cast<uint32_t>(Codes<format>::encode(low)) | static_cast<uint32_t>(Codes<format>::encode(high)) << 16;
    };
    *reinterpret_cast<uint2*>(static_cast<uint16_t*>(to.rows) + at) = {pair(x.x, x.y), pair(x.z, x.w)};
  };
  if (to.format == Format::bf16) rounded(FormatTag<Format::bf16>());
  else if (to.format == Format::fp16) rounded(FormatTag<Format::fp16>());
  else *reinterpret_cast<float4*>(static_cast<float*>(to.rows) + at) = x;
}

// float32 to a pair of the 16-bit floats that a kernel computes with, and back.
template <bool is_bf16>
__device__ __forceinline__ uint32_t pack(float x, float y) {
  if constexpr (is_bf16) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(x, y);
    return reinterpret_cast<const uint32_t&>(pair);
  } else {
    const __half2 pair = __floats2half2_rn(x, y);
    return reinterpret_cast<const uint32_t&>(pair);
  }
}
template <bool is_bf16>
__device__ __forceinline__ float rounded(float x) {
  if constexpr (is_bf16) return __bfloat162float(__float2bfloat16_rn(x));
  return __half2float(__float2half_rn(x));
}

// A power of two that brings values of at most `most` to at most 2^15, the largest to at least 2^14 (unless it is below 2^-100).
__device__ __forceinline__ float fp16_scale(float most) {
  return __uint_as_float((max(__float_as_uint(most) >> 23, 27u) - 14) << 23);
}

constexpr float kNoTop = -3e38f;  // below every logit; finite, so that differences are numbers
// A running maximum is raised only when a logit exceeds it by more than this: p <= 2^kTopLag. fp16 holds p * kWeightGain.
constexpr float kTopLag = 8, kWeightGain = 128;
constexpr float kLog2E = 1.44269504f;  // exponentials are powers of two
constexpr float kLeastUnit = 0x1p-90f;  // of V's scales, as the kernels hold them

}  // namespace kvant::cuda
