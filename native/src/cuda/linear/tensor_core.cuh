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
// A unsigned.
__device__ __forceinline__ void step_uint8(int (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Past the last group where a unit pads a row to whole chunks.
__device__ __forceinline__ int unbounded_group_of(const Call& call, int unit) {
  return static_cast<int>(static_cast<uint64_t>(unit) * call.group_inverse >> kInverseShift);
}
__device__ __forceinline__ int group_of(const Call& call, int unit) {
  const int group = unbounded_group_of(call, unit);
  return group < call.groups ? group : call.groups - 1;
}

// Whether groups have powers of two for scales.
template <Format F>
__device__ __forceinline__ bool has_powers(const Call& call) {
  return F == Format::e2m1 && call.scale_run == kTileRows;
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
  template <int kUnit, int kWords>
  __device__ __forceinline__ void eight(int row, uint32_t (&out)[kWords]) const {
    if constexpr (bits(F) == 16) {
      const uint4 v = vectors[kUnit * 2 + row];
      out[0] = v.x, out[1] = v.y, out[2] = v.z, out[3] = v.w;
    } else if constexpr (bits(F) == 8) {
      const uint4 v = vectors[row];
      out[0] = kUnit ? v.z : v.x, out[1] = kUnit ? v.w : v.y;
    } else {
      const uint4 v = vectors[0];
      out[0] = kUnit ? (row ? v.w : v.z) : (row ? v.y : v.x);
    }
  }
};

// What a lane's two rows, g and g + 8, are multiplied by within a group.
struct GroupFactors {
  float scale[2];
  uint32_t offset[2];  // for the decoder: of zero points, or scale codes
  int zero[2];
};

// Where scales are read from: global memory that nobody writes, or any.
enum class Held { global, shared };
template <Held kHeld, class T>
__device__ __forceinline__ T read(const T* at) {
  if constexpr (kHeld == Held::global) return __ldg(at);
  else return *at;
}

// The scales of lane (g, c)'s two rows as loaded, from where those of a group of a tile begin.
template <Format F, Scaling kScaling, Held kHeld = Held::global>
struct ScaleWords {
  uint32_t words[2];

  __device__ __forceinline__ void load(const Call& call, const uint8_t* run, int g, int c) {
#pragma unroll
    for (int row = 0; row < 2; row++) {
      const int at = g + row * 8;
      if constexpr (kScaling == Scaling::codes) {
        words[row] = read<kHeld>(run + c / 2 * kTileRows + at);
      } else if constexpr (is_grouped(kScaling)) {
        words[row] = has_powers<F>(call) ? read<kHeld>(run + at) : read<kHeld>(reinterpret_cast<const uint32_t*>(run) + at);
      }
    }
  }

  template <class Family>
  __device__ __forceinline__ void factors(const Call& call, const uint8_t* run, int g, GroupFactors& out) const {
#pragma unroll
    for (int row = 0; row < 2; row++) {
      out.zero[row] = 0;
      if constexpr (kScaling == Scaling::codes) {
        out.offset[row] = words[row];
        continue;
      }
      if constexpr (is_grouped(kScaling)) {
        out.scale[row] = __uint_as_float(!has_powers<F>(call) ? words[row] : words[row] == 0 ? 0x00400000u : words[row] << 23);
      }
    }
    if constexpr (kScaling == Scaling::zeros) load_zeros(run, g, out);
#pragma unroll
    for (int row = 0; row < 2 && kScaling != Scaling::codes; row++) out.offset[row] = Family::offset(out.zero[row]);
  }

  __device__ __forceinline__ void load_zeros(const uint8_t* run, int g, GroupFactors& out) const {
#pragma unroll
    for (int row = 0; row < 2; row++) out.zero[row] = read<kHeld>(reinterpret_cast<const int8_t*>(run) + kTileRows * 4 + g + row * 8);
  }
};

// The factors of a group of a tile, from `run` where its scales begin. kScaling zeros serves groups without zero points too.
template <class Family, Format F, Scaling kScaling, Held kHeld = Held::global>
__device__ __forceinline__ void load_factors(const Call& call, const uint8_t* run, int g, int c, GroupFactors& out) {
  const auto load = [&]<Scaling kOf>() {
    ScaleWords<F, kOf, kHeld> scales;
    scales.load(call, run, g, c);
    scales.template factors<Family>(call, run, g, out);
  };
  if constexpr (kScaling == Scaling::zeros) {
    if (call.scaling != Scaling::zeros) return load.template operator()<Scaling::groups>();
  }
  load.template operator()<kScaling>();
}

// 16-bit operands: the tensor cores add in float32. x of a unit is one 16-byte vector per lane and token.
template <Format F, Operand kOperand>
struct FloatFamily {
  using Pair = std::conditional_t<kOperand == Operand::fp16, __half2, __nv_bfloat162>;
  using Sum = float;
  static constexpr int kXBytes = 2;
  struct Weights {
    uint32_t row[2][4];
  };
  // What the sums of a product are multiplied by.
  template <Scaling kScaling>
  static constexpr float kFactor = kScaling == Scaling::codes ? ScaleCodes<Pair>::kFactor : Decoder<F, Pair>::kFactor;

  static __device__ __forceinline__ uint32_t offset(int zero) { return Decoder<F, Pair>::offset(zero); }

  template <int kUnit, Scaling kScaling>
  static __device__ __forceinline__ void decode(const ChunkWords<F>& words, const GroupFactors& group, Weights& out) {
#pragma unroll
    for (int row = 0; row < 2; row++) {
      uint32_t codes[Decoder<F, Pair>::kWords];
      words.template eight<kUnit>(row, codes);
      Decoder<F, Pair>::template eight<kScaling == Scaling::zeros>(codes, group.offset[row], out.row[row]);
      if constexpr (kScaling == Scaling::codes) {
        const uint32_t scale = ScaleCodes<Pair>::pair(group.offset[row]);
#pragma unroll
        for (int i = 0; i < 4; i++) out.row[row][i] = linear::multiply<Pair>(out.row[row][i], scale);
      }
    }
  }
  template <Scaling>
  static constexpr bool kSumsX = false;
  static __device__ __forceinline__ void add_x(Sum (&)[4], const uint32_t (&)[4]) {}
  static __device__ __forceinline__ float zero(const GroupFactors&, int) { return 0; }
  template <Scaling>
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
// An int4 code stays in the upper half of its byte, sixteen times as large, so that masks alone take codes apart.
// With zero points: sum_k x * (code - zero) = sum_k x * code - zero * sum_k x, and a step with ones for weights makes the last sum;
// less their zeros int8 codes would not fit. int4 codes then are as held, from 0 to 15.
template <Format F>
struct Int8Family {
  using Sum = int;
  static constexpr int kXBytes = 1;
  struct Weights {
    uint32_t row[2][2];
  };
  template <Scaling kScaling>
  static constexpr bool kShifted = F == Format::int4 && kScaling != Scaling::zeros;
  template <Scaling kScaling>
  static constexpr float kFactor = kShifted<kScaling> ? 0.0625f : 1.0f;

  static __device__ __forceinline__ uint32_t offset(int) { return 0; }

  template <int kUnit, Scaling kScaling>
  static __device__ __forceinline__ void decode(const ChunkWords<F>& words, const GroupFactors&, Weights& out) {
#pragma unroll
    for (int row = 0; row < 2; row++) {
      if constexpr (F == Format::int8) {
        words.template eight<kUnit>(row, out.row[row]);
      } else {
        uint32_t codes[1];
        words.template eight<kUnit>(row, codes);
        // Columns 0 4 1 5, then 2 6 3 7, as x has them (PreparedForm::interleaved). Held + 8: the sign bit turns.
        if constexpr (kShifted<kScaling>) {
          out.row[row][0] = and_xor<0xf0f0f0f0u>(codes[0] << 4, 0x80808080u), out.row[row][1] = and_xor<0xf0f0f0f0u>(codes[0], 0x80808080u);
        } else {
          out.row[row][0] = codes[0] & 0x0f0f0f0fu, out.row[row][1] = (codes[0] >> 4) & 0x0f0f0f0fu;
        }
      }
    }
  }
  template <Scaling kScaling>
  static __device__ __forceinline__ void multiply(Sum (&d)[4], const Weights& w, const uint32_t (&x)[4]) {
    const uint32_t a[4] = {w.row[0][0], w.row[1][0], w.row[0][1], w.row[1][1]};
    if constexpr (F == Format::int4 && !kShifted<kScaling>) step_uint8(d, a, x[0], x[1]);
    else step_int8(d, a, x[0], x[1]);
  }

  template <Scaling kScaling>
  static constexpr bool kSumsX = kScaling == Scaling::zeros;
  static __device__ __forceinline__ void add_x(Sum (&d)[4], const uint32_t (&x)[4]) {
    constexpr uint32_t kOnes[4] = {0x01010101u, 0x01010101u, 0x01010101u, 0x01010101u};
    step_int8(d, kOnes, x[0], x[1]);
  }
  static __device__ __forceinline__ int zero(const GroupFactors& group, int row) { return group.zero[row] + (F == Format::int4 ? 8 : 0); }
};

template <Format F, Operand kOperand>
using Family = std::conditional_t<kOperand == Operand::int8, Int8Family<F>, FloatFamily<F, kOperand>>;

// Activations of one token and unit, from the vectors of a chunk: 16-bit operands have one vector per unit, int8 one for both.
template <int kXBytes, int kUnit, int kVectors>
__device__ __forceinline__ void unit_of(const uint4 (&chunk)[kVectors], uint32_t (&x)[4]) {
  if constexpr (kXBytes == 2) {
    x[0] = chunk[kUnit].x, x[1] = chunk[kUnit].y, x[2] = chunk[kUnit].z, x[3] = chunk[kUnit].w;
  } else {
    x[0] = kUnit ? chunk[0].z : chunk[0].x, x[1] = kUnit ? chunk[0].w : chunk[0].y, x[2] = x[3] = 0;
  }
}

// Calls the kernel for the scaling of the call. int8 and e4m3 are mostly held with one scale per row and have kernels of their
// own for it; elsewhere one group is as good.
template <template <Format, Operand, Scaling> class Launch, Format F, Operand kOperand>
void launch_scaled(const Call& call, cudaStream_t stream) {
  constexpr bool kIntegers = F == Format::int8 || F == Format::int4;
  if constexpr (bits(F) == 16) return Launch<F, kOperand, Scaling::rows>::run(call, stream);
  if constexpr (F == Format::int8 || F == Format::e4m3) {
    if (call.scaling == Scaling::rows) return Launch<F, kOperand, Scaling::rows>::run(call, stream);
  }
  if constexpr (kIntegers) {
    if (call.scaling == Scaling::zeros) return Launch<F, kOperand, Scaling::zeros>::run(call, stream);
  }
  if constexpr (F == Format::e2m1) {
    if (call.scaling == Scaling::codes) return Launch<F, kOperand, Scaling::codes>::run(call, stream);
  }
  if constexpr (bits(F) <= 8) Launch<F, kOperand, Scaling::groups>::run(call, stream);
}

}  // namespace kvant::cuda::linear
