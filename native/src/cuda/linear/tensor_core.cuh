#pragma once
// One tensor-core step, D[16 features, 8 tokens] += A[16, k] * B[k, 8], and what each family of products feeds it.
// Lane (g, c) holds rows g and g + 8 of A, token g of B, and of D rows g (elements 0, 1) and g + 8 (2, 3) of tokens 2c and
// 2c + 1. Which column is which k is free, as long as A and B agree: lane c takes columns 8c .. 8c+7 of a unit.
#include "decode.cuh"
#include "layout.h"

namespace kvant::cuda::linear {

__device__ __forceinline__ void step_fp16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void step_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void step_int8(int (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// What one lane holds of a tile of 16 features x a chunk of 64 columns: 16-byte vectors as stored.
//   16 bit  row g unit 0, row g + 8 unit 0, row g unit 1, row g + 8 unit 1
//   8 bit   row g, row g + 8 (both units each)
//   4 bit   one vector of words [unit][row g, row g + 8]
template <Format F>
struct ChunkWords {
  static constexpr int kVectors = bits(F) / 4;
  uint4 vectors[kVectors];

  // Words of eight columns of row g (row = 0) or g + 8 (row = 1).
  template <int kUnit, int kRow, int kWords>
  __device__ __forceinline__ void eight(uint32_t (&out)[kWords]) const {
    if constexpr (bits(F) == 16) {
      const uint4 v = vectors[kUnit * 2 + kRow];
      out[0] = v.x, out[1] = v.y, out[2] = v.z, out[3] = v.w;
    } else if constexpr (bits(F) == 8) {
      const uint4 v = vectors[kRow];
      out[0] = kUnit ? v.z : v.x, out[1] = kUnit ? v.w : v.y;
    } else {
      const uint4 v = vectors[0];
      out[0] = kUnit ? (kRow ? v.w : v.z) : (kRow ? v.y : v.x);
    }
  }
};

// 16-bit operands: the tensor cores add in float32. x of a unit is one 16-byte vector per lane and token.
template <Format F, Operand kOperand>
struct FloatFamily {
  using Pair = std::conditional_t<kOperand == Operand::fp16, __half2, __nv_bfloat162>;
  using Sum = float;
  static constexpr int kXBytes = 2;
  static constexpr float kFactor = Decoder<F, Pair>::kFactor;
  struct Weights {
    uint32_t row[2][4];
  };

  template <int kUnit>
  static __device__ __forceinline__ void decode(const ChunkWords<F>& words, Weights& out) {
    uint32_t codes[2][Decoder<F, Pair>::kWords];
    words.template eight<kUnit, 0>(codes[0]);
    words.template eight<kUnit, 1>(codes[1]);
    Decoder<F, Pair>::eight(codes[0], out.row[0]);
    Decoder<F, Pair>::eight(codes[1], out.row[1]);
  }
  static __device__ __forceinline__ void multiply(Sum (&d)[4], const Weights& w, const uint32_t (&x)[4]) {
    const uint32_t first[4] = {w.row[0][0], w.row[1][0], w.row[0][1], w.row[1][1]};
    const uint32_t second[4] = {w.row[0][2], w.row[1][2], w.row[0][3], w.row[1][3]};
    if constexpr (kOperand == Operand::fp16) {
      step_fp16(d, first, x[0], x[1]);
      step_fp16(d, second, x[2], x[3]);
    } else {
      step_bf16(d, first, x[0], x[1]);
      step_bf16(d, second, x[2], x[3]);
    }
  }
};

// int8 operands: exact int32 sums. x of a chunk is one 16-byte vector per lane and token, eight bytes per unit.
template <Format F>
struct Int8Family {
  using Sum = int;
  static constexpr int kXBytes = 1;
  static constexpr float kFactor = 1.0f;
  struct Weights {
    uint32_t row[2][2];
  };

  template <int kUnit>
  static __device__ __forceinline__ void decode(const ChunkWords<F>& words, Weights& out) {
    if constexpr (F == Format::int8) {
      words.template eight<kUnit, 0>(out.row[0]);
      words.template eight<kUnit, 1>(out.row[1]);
    } else {
      uint32_t codes[2][1];
      words.template eight<kUnit, 0>(codes[0]);
      words.template eight<kUnit, 1>(codes[1]);
      eight_int8(codes[0][0], out.row[0]);
      eight_int8(codes[1][0], out.row[1]);
    }
  }
  static __device__ __forceinline__ void multiply(Sum (&d)[4], const Weights& w, const uint32_t (&x)[4]) {
    const uint32_t a[4] = {w.row[0][0], w.row[1][0], w.row[0][1], w.row[1][1]};
    step_int8(d, a, x[0], x[1]);
  }
};

template <Format F, Operand kOperand>
using Family = std::conditional_t<kOperand == Operand::int8, Int8Family<F>, FloatFamily<F, kOperand>>;

// Activations of one token and unit, from the vectors of a chunk: 16-bit operands have one vector per unit, int8 one for both.
template <int kXBytes, int kUnit>
__device__ __forceinline__ void unit_of(const uint4 (&chunk)[kXBytes], uint32_t (&x)[4]) {
  if constexpr (kXBytes == 2) {
    x[0] = chunk[kUnit].x, x[1] = chunk[kUnit].y, x[2] = chunk[kUnit].z, x[3] = chunk[kUnit].w;
  } else {
    x[0] = kUnit ? chunk[0].z : chunk[0].x, x[1] = kUnit ? chunk[0].w : chunk[0].y, x[2] = x[3] = 0;
  }
}

__device__ __forceinline__ int group_of(const Call& call, int unit) {
  const int group = call.group_shift >= 0 ? unit >> call.group_shift : unit / call.group_units;
  return group < call.groups ? group : call.groups - 1;  // the unit that pads a row to whole chunks
}

}  // namespace kvant::cuda::linear
