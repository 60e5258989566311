#pragma once
// Neighbouring columns of a row in one access: float32, or bf16 that becomes float32.
#include <cuda_bf16.h>

#include <cstdint>

namespace kvant::cuda {

using Bf16 = __nv_bfloat16;

// Two bf16 as they lie in memory, and back to nearest.
__device__ __forceinline__ float2 widened(uint32_t pair) { return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)}; }
__device__ __forceinline__ uint32_t narrowed(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return reinterpret_cast<const uint32_t&>(pair);
}

// 1, 2 or 4 columns, which start aligned to their bytes.
template <int kColumns>
__device__ __forceinline__ void load_columns(const float* from, float (&to)[kColumns]) {
  if constexpr (kColumns == 4) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  } else if constexpr (kColumns == 2) {
    const float2 v = *reinterpret_cast<const float2*>(from);
    to[0] = v.x, to[1] = v.y;
  } else {
    static_assert(kColumns == 1);
    to[0] = *from;
  }
}
template <int kColumns>
__device__ __forceinline__ void load_columns(const Bf16* from, float (&to)[kColumns]) {
  if constexpr (kColumns == 4) {
    const uint2 v = *reinterpret_cast<const uint2*>(from);
    const float2 low = widened(v.x), high = widened(v.y);
    to[0] = low.x, to[1] = low.y, to[2] = high.x, to[3] = high.y;
  } else if constexpr (kColumns == 2) {
    const float2 v = widened(*reinterpret_cast<const uint32_t*>(from));
    to[0] = v.x, to[1] = v.y;
  } else {
    static_assert(kColumns == 1);
    to[0] = __bfloat162float(*from);
  }
}
template <int kColumns>
__device__ __forceinline__ void store_columns(float* to, const float (&from)[kColumns]) {
  if constexpr (kColumns == 4) {
    *reinterpret_cast<float4*>(to) = {from[0], from[1], from[2], from[3]};
  } else if constexpr (kColumns == 2) {
    *reinterpret_cast<float2*>(to) = {from[0], from[1]};
  } else {
    static_assert(kColumns == 1);
    *to = from[0];
  }
}
template <int kColumns>
__device__ __forceinline__ void store_columns(Bf16* to, const float (&from)[kColumns]) {
  if constexpr (kColumns == 4) {
    *reinterpret_cast<uint2*>(to) = {narrowed(from[0], from[1]), narrowed(from[2], from[3])};
  } else if constexpr (kColumns == 2) {
    *reinterpret_cast<uint32_t*>(to) = narrowed(from[0], from[1]);
  } else {
    static_assert(kColumns == 1);
    *to = __float2bfloat16_rn(from[0]);
  }
}

// Eight columns, which start 16-byte aligned; of bf16, as they lie in memory.
__device__ __forceinline__ void load_octet(const float* from, float (&to)[8]) {
  const float4 low = reinterpret_cast<const float4*>(from)[0], high = reinterpret_cast<const float4*>(from)[1];
  to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w, to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
}
__device__ __forceinline__ void widen_octet(const uint4& v, float (&to)[8]) {
  const uint32_t pairs[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float2 pair = widened(pairs[i]);
    to[2 * i] = pair.x, to[2 * i + 1] = pair.y;
  }
}
__device__ __forceinline__ void store_octet_floats(float* to, const float (&from)[8]) {
  reinterpret_cast<float4*>(to)[0] = {from[0], from[1], from[2], from[3]};
  reinterpret_cast<float4*>(to)[1] = {from[4], from[5], from[6], from[7]};
}

}  // namespace kvant::cuda
