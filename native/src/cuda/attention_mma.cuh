#pragma once
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>

#include "kvant/format.h"

namespace kvant::cuda {

// Tensor-core steps on stored KV codes, and how codes become their operands. Lanes of a warp are (g, t) = (lane / 4, lane % 4).
//   A [16 rows, k]: a0 row g, a1 row g + 8, a2 row g, a3 row g + 8; a0 and a1 hold the first half of k, a2 and a3 the second
//   B [k, 8 columns]: column g;  C [16 rows, 8 columns]: c0 c1 row g, c2 c3 row g + 8; columns 2t, 2t + 1
// Which number of a dot product is which k is free as long as A and B agree, so lanes take their operands in whole words.

// Codes of all formats but bf16 and fp32 are exact in fp16.
template <Format format>
constexpr bool kIsBf16 = format == Format::bf16;

template <bool is_bf16>
__device__ __forceinline__ void step_float(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  if constexpr (is_bf16) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

__device__ __forceinline__ void step_int8(int (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Turns an 8 x 8 matrix of 16-bit numbers: rows g, columns 2t and 2t + 1 per lane.
__device__ __forceinline__ uint32_t transposed(uint32_t x) {
  uint32_t y;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}

// Two 8-bit codes (low half of x) as two fp16.
template <Format format>
__device__ __forceinline__ uint32_t fp16_pair(uint32_t x) {
  constexpr auto kind = format == Format::e4m3 ? __NV_E4M3 : __NV_E5M2;
  const __half2_raw pair = __nv_cvt_fp8x2_to_halfraw2(static_cast<__nv_fp8x2_storage_t>(x), kind);
  return static_cast<uint32_t>(pair.x) | static_cast<uint32_t>(pair.y) << 16;
}

// Four 8-bit codes as fp16: bytes 0 and 1 in low, 2 and 3 in high.
template <Format format>
__device__ __forceinline__ void fp16_quad(uint32_t x, uint32_t& low, uint32_t& high) {
  if constexpr (format == Format::int8) {
    // 0x6400 + u is 1024 + u in fp16, and u = code + 128.
    const uint32_t biased = x ^ 0x80808080u;
    const __half2 offset = __half2_raw{0x6480, 0x6480};
    const uint32_t from_low = __byte_perm(biased, 0x64646464u, 0x4140), from_high = __byte_perm(biased, 0x64646464u, 0x4342);
    const __half2 a = __hsub2(reinterpret_cast<const __half2&>(from_low), offset);
    const __half2 b = __hsub2(reinterpret_cast<const __half2&>(from_high), offset);
    low = reinterpret_cast<const uint32_t&>(a);
    high = reinterpret_cast<const uint32_t&>(b);
  } else if constexpr (format == Format::e5m2) {
    low = __byte_perm(x, 0, 0x1404);
    high = __byte_perm(x, 0, 0x3424);
  } else {
    low = fp16_pair<format>(x & 0xffff);
    high = fp16_pair<format>(x >> 16);
  }
}

// Rows of a word of codes from positions p and p': out[i] = (number i of p, number i of p').
template <Format format>
__device__ __forceinline__ void interleave(uint32_t x, uint32_t y, uint32_t (&out)[bits(format) == 8 ? 4 : 2]) {
  if constexpr (bits(format) == 8) {
    fp16_quad<format>(__byte_perm(x, y, 0x5140), out[0], out[1]);
    fp16_quad<format>(__byte_perm(x, y, 0x7362), out[2], out[3]);
  } else {
    out[0] = __byte_perm(x, y, 0x5410);
    out[1] = __byte_perm(x, y, 0x7632);
  }
}

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Copies 16 bytes to shared memory, or zeros where !is_read.
__device__ __forceinline__ void copy_async(uint32_t to, const void* from, bool is_read) {
  const int bytes = is_read ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// At most `pending` of the calling thread's latest groups are still under way after this.
template <int pending>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// 2^x to about 2^-22.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

template <int words>
__device__ __forceinline__ void load_words(uint32_t* to, const uint8_t* shared) {
  static_assert(words == 1 || words == 2 || words == 4);
  if constexpr (words == 4) {
    const uint4 x = *reinterpret_cast<const uint4*>(shared);
    to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
  } else if constexpr (words == 2) {
    const uint2 x = *reinterpret_cast<const uint2*>(shared);
    to[0] = x.x, to[1] = x.y;
  } else {
    to[0] = *reinterpret_cast<const uint32_t*>(shared);
  }
}

}  // namespace kvant::cuda
