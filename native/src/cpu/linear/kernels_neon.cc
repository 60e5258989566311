// 64-bit Arm with the dot-product extension: a block of 16 features is four registers. Int8 activations go through sdot,
// which adds four products of signed bytes to an int32.
#include <arm_neon.h>

#include <utility>

#include "kernel_table.h"
#include "row_passes.h"
#include "token_tiles.h"

namespace kvant::linear {
namespace {

#include "product.inc.h"

struct Simd {
  using Float = float32x4_t;
  using Int = int32x4_t;
  static constexpr int kLanes = 4;
  // At most 16 of 32 registers hold sums.
  static constexpr int vectors(int tokens) { return tokens == 8 ? 2 : 4; }

  static Float zero() { return vdupq_n_f32(0); }
  static Float splat(float value) { return vdupq_n_f32(value); }
  static Float load(const float* from) { return vld1q_f32(from); }
  static void store(float* to, Float a) { vst1q_f32(to, a); }
  static Float fma(Float a, Float b, Float c) { return vfmaq_f32(c, a, b); }
  static Float scaled(Float a, float factor) { return factor == 1 ? a : vmulq_n_f32(a, factor); }
  static Float to_float(Int a) { return vcvtq_f32_s32(a); }
  static Int splat_int(int32_t value) { return vdupq_n_s32(value); }
  static Int splat_word(const int8_t* from) {
    int32_t word;
    __builtin_memcpy(&word, from, 4);
    return vdupq_n_s32(word);
  }
  static Float load_at(const uint8_t* floats, int64_t lane) { return load(reinterpret_cast<const float*>(floats) + lane); }
  static Float mul(Float a, Float b) { return vmulq_f32(a, b); }
  static Float sub(Float a, Float b) { return vsubq_f32(a, b); }
  static Int sub_product(Int a, Int b, Int c) { return vmlsq_s32(a, b, c); }
  static uint16x4_t widen_four(const uint8_t* from) {
    uint32_t four;
    __builtin_memcpy(&four, from, 4);
    return vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four))));
  }
  static Int widen_bytes(const uint8_t* from) {
    const int16x4_t codes = vreinterpret_s16_u16(widen_four(from));
    return vmovl_s16(vshr_n_s16(vshl_n_s16(codes, 8), 8));
  }
  // The exponent of a float32 as it is; code 0 is the subnormal 2^-127.
  static Float from_e8m0(const uint8_t* from) {
    return vreinterpretq_f32_u32(vmaxq_u32(vshlq_n_u32(vmovl_u16(widen_four(from)), 23), vdupq_n_u32(0x00400000)));
  }
  // Codes of scales are not negative; as fp16 they come out 2^8 too small.
  static Float from_e4m3(const uint8_t* from) {
    return vmulq_n_f32(vcvt_f32_f16(vreinterpret_f16_u16(vshl_n_u16(widen_four(from), 7))), 256);
  }
  static void prefetch(const uint8_t* at) { __builtin_prefetch(at); }
};

// A quarter of line `line` of 64 bytes; the caller's pointer chooses the quarter.
uint8x16_t load_quarter(const uint8_t* codes, int line) { return vld1q_u8(codes + line * 64); }

template <int shift>
uint32x4_t shift_right(uint32x4_t a) {
  if constexpr (shift == 0) return a;
  else return vshrq_n_u32(a, shift);
}

float32x4_t from_half(uint16x4_t half) { return vcvt_f32_f16(vreinterpret_f16_u16(half)); }

struct Fp32Weights {
  static constexpr float kFactor = 1;
  template <int J>
  static float32x4_t column(const uint8_t* codes) {
    return vreinterpretq_f32_u8(load_quarter(codes, J));
  }
};

struct Bf16Weights {
  static constexpr float kFactor = 1;
  template <int J>
  static float32x4_t column(const uint8_t* codes) {
    const uint32x4_t pair = vreinterpretq_u32_u8(load_quarter(codes, J / 2));
    return vreinterpretq_f32_u32(J % 2 == 0 ? vshlq_n_u32(pair, 16) : vandq_u32(pair, vdupq_n_u32(0xffff0000u)));
  }
};

struct Fp16Weights {
  static constexpr float kFactor = 1;
  template <int J>
  static float32x4_t column(const uint8_t* codes) {
    return from_half(vreinterpret_u16_u8(vld1_u8(codes + J * 32)));
  }
};

// Both FP8 formats become fp16 by moving bits: E5M2 is its upper byte; E4M3 takes the fp16 exponent's bias for its own and
// comes out 2^8 too small, subnormals included, which the scale makes good.
template <bool kE4m3>
struct Fp8Weights {
  static constexpr float kFactor = kE4m3 ? 256 : 1;
  template <int J>
  static float32x4_t column(const uint8_t* codes) {
    uint32_t four;
    __builtin_memcpy(&four, codes + J * 16, 4);
    uint16x4_t half = vget_low_u16(vshll_n_u8(vreinterpret_u8_u32(vdup_n_u32(four)), 8));
    if constexpr (kE4m3) {
      half = vand_u16(vreinterpret_u16_s16(vshr_n_s16(vreinterpret_s16_u16(half), 1)), vdup_n_u16(0xbfff));
    }
    return from_half(half);
  }
};

struct Int8Weights {
  static constexpr float kFactor = 1;
  template <int J>
  static float32x4_t column(const uint8_t* codes) {
    const uint32x4_t word = vreinterpretq_u32_u8(load_quarter(codes, J / 4));
    const uint32x4_t code = vandq_u32(shift_right<J % 4 * 8>(word), vdupq_n_u32(255));
    return vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(code), vdupq_n_s32(128)));
  }
};

template <int J>
constexpr int kNibbleShift = J % 4 * 8 + J / 4 * 4;

struct Int4Weights {
  static constexpr float kFactor = 1;
  template <int J>
  static float32x4_t column(const uint8_t* codes) {
    const uint32x4_t word = vreinterpretq_u32_u8(load_quarter(codes, 0));
    const uint32x4_t code = vandq_u32(shift_right<kNibbleShift<J>>(word), vdupq_n_u32(15));
    return vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(code), vdupq_n_s32(8)));
  }
};

// As E4M3: exponent and mantissa in their places of an fp16, whose bias is 14 larger.
struct E2m1Weights {
  static constexpr float kFactor = 16384;
  template <int J>
  static float32x4_t column(const uint8_t* codes) {
    const uint32x4_t word = vreinterpretq_u32_u8(load_quarter(codes, 0));
    const int16x4_t top = vreinterpret_s16_u16(vshl_n_u16(vmovn_u32(shift_right<kNibbleShift<J>>(word)), 12));
    return from_half(vand_u16(vreinterpret_u16_s16(vshr_n_s16(top, 3)), vdup_n_u16(0x8e00)));
  }
};

struct Unit {
  int8x16_t low, high;  // columns 0..3 and 4..7
};

int32x4_t dot_unit(int32x4_t sum, const Unit& w, int32x4_t x_low, int32x4_t x_high) {
  return vdotq_s32(vdotq_s32(sum, w.low, vreinterpretq_s8_s32(x_low)), w.high, vreinterpretq_s8_s32(x_high));
}

struct Int8Codes {
  using Unit = linear::Unit;
  static constexpr int32_t kOffset = 0;  // taken off again in unit()
  static Unit unit(const uint8_t* codes) {
    const uint8x16_t offset = vdupq_n_u8(128);
    return {vreinterpretq_s8_u8(veorq_u8(load_quarter(codes, 0), offset)),
            vreinterpretq_s8_u8(veorq_u8(load_quarter(codes, 1), offset))};
  }
  static int32x4_t dot(int32x4_t sum, const Unit& w, int32x4_t low, int32x4_t high) { return dot_unit(sum, w, low, high); }
};

struct Int4Codes {
  using Unit = linear::Unit;
  static constexpr int32_t kOffset = 8;
  static Unit unit(const uint8_t* codes) {
    const uint8x16_t pairs = load_quarter(codes, 0);
    return {vreinterpretq_s8_u8(vandq_u8(pairs, vdupq_n_u8(15))), vreinterpretq_s8_u8(vshrq_n_u8(pairs, 4))};
  }
  static int32x4_t dot(int32x4_t sum, const Unit& w, int32x4_t low, int32x4_t high) { return dot_unit(sum, w, low, high); }
};

struct Decoders {
  using Fp32 = Fp32Weights;
  using Bf16 = Bf16Weights;
  using Fp16 = Fp16Weights;
  using Int8 = Int8Weights;
  using Int4 = Int4Weights;
  using E4m3 = Fp8Weights<true>;
  using E5m2 = Fp8Weights<false>;
  using E2m1 = E2m1Weights;
  using Int8Codes = linear::Int8Codes;
  using Int4Codes = linear::Int4Codes;
};

}  // namespace

const LinearKernels kernels_neon = {
    .products = {symmetric_products<Simd, Decoders>, affine_products<Simd, Decoders>,
                 fp4_products<Simd, Decoders, Scales::e8m0>, fp4_products<Simd, Decoders, Scales::e4m3>},
    .absmax = absmax_neon,
    .quantize = quantize_neon,
    .round_bf16 = round_bf16_neon,
    .round_fp16 = round_fp16_neon,
};

}  // namespace kvant::linear
