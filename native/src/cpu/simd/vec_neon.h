#pragma once
// Sixteen float lanes in four 128-bit registers. See vec_scalar.h for what the names mean.
#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#define KVANT_INLINE inline __attribute__((always_inline))

namespace kvant::neon {
namespace {

constexpr int kLanes = 16;
// 4 sums and a value of four registers each, and a weight, stay within 32 registers.
constexpr int kRowBlock = 4;
constexpr int kValueBlock = 1;
constexpr int kKeyBlock = 1;

struct Vec {
  float32x4_t v[4];
};
struct Ints {
  uint32x4_t v[4];
};
struct Mask {
  uint32x4_t v[4];  // all bits of a lane
};

#define KVANT_EACH(Type, expression) \
  Type result;                       \
  for (int i = 0; i < 4; i++) result.v[i] = expression; \
  return result

KVANT_INLINE Vec splat(float value) { KVANT_EACH(Vec, vdupq_n_f32(value)); }
KVANT_INLINE Vec load(const float* from) { KVANT_EACH(Vec, vld1q_f32(from + 4 * i)); }
KVANT_INLINE void store(float* to, Vec a) {
  for (int i = 0; i < 4; i++) vst1q_f32(to + 4 * i, a.v[i]);
}
// Partial vectors go through memory: there are no masked loads.
KVANT_INLINE Vec load_part(const float* from, int count) {
  float lanes[kLanes] = {};
  for (int i = 0; i < count; i++) lanes[i] = from[i];
  return load(lanes);
}
KVANT_INLINE void store_part(float* to, Vec a, int count) {
  float lanes[kLanes];
  store(lanes, a);
  for (int i = 0; i < count; i++) to[i] = lanes[i];
}

KVANT_INLINE Vec operator+(Vec a, Vec b) { KVANT_EACH(Vec, vaddq_f32(a.v[i], b.v[i])); }
KVANT_INLINE Vec operator-(Vec a, Vec b) { KVANT_EACH(Vec, vsubq_f32(a.v[i], b.v[i])); }
KVANT_INLINE Vec operator*(Vec a, Vec b) { KVANT_EACH(Vec, vmulq_f32(a.v[i], b.v[i])); }
KVANT_INLINE Vec operator/(Vec a, Vec b) { KVANT_EACH(Vec, vdivq_f32(a.v[i], b.v[i])); }
KVANT_INLINE Vec fma(Vec a, Vec b, Vec c) { KVANT_EACH(Vec, vfmaq_f32(c.v[i], a.v[i], b.v[i])); }
// Not vmaxq_f32, which answers NaN when either side is one.
KVANT_INLINE float32x4_t greater_of(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
KVANT_INLINE Vec max(Vec a, Vec b) { KVANT_EACH(Vec, greater_of(a.v[i], b.v[i])); }

KVANT_INLINE Mask operator<(Vec a, Vec b) { KVANT_EACH(Mask, vcltq_f32(a.v[i], b.v[i])); }
KVANT_INLINE Mask is_nan(Vec a) { KVANT_EACH(Mask, vmvnq_u32(vceqq_f32(a.v[i], a.v[i]))); }
KVANT_INLINE int32x4_t lane_numbers(int quarter) {
  const int32_t numbers[4] = {0, 1, 2, 3};
  return vaddq_s32(vld1q_s32(numbers), vdupq_n_s32(4 * quarter));
}
KVANT_INLINE Mask lanes_between(int begin, int end) {
  KVANT_EACH(Mask, vandq_u32(vcgeq_s32(lane_numbers(i), vdupq_n_s32(begin)), vcltq_s32(lane_numbers(i), vdupq_n_s32(end))));
}
KVANT_INLINE int count_lanes(Mask mask) {
  int count = 0;
  for (int i = 0; i < 4; i++) count += static_cast<int>(vaddvq_u32(vshrq_n_u32(mask.v[i], 31)));
  return count;
}
KVANT_INLINE Vec select(Mask mask, Vec yes, Vec no) { KVANT_EACH(Vec, vbslq_f32(mask.v[i], yes.v[i], no.v[i])); }
KVANT_INLINE Ints select(Mask mask, Ints yes, Ints no) { KVANT_EACH(Ints, vbslq_u32(mask.v[i], yes.v[i], no.v[i])); }

KVANT_INLINE Ints splat_int(uint32_t value) { KVANT_EACH(Ints, vdupq_n_u32(value)); }
KVANT_INLINE Ints operator+(Ints a, Ints b) { KVANT_EACH(Ints, vaddq_u32(a.v[i], b.v[i])); }
KVANT_INLINE Ints operator-(Ints a, Ints b) { KVANT_EACH(Ints, vsubq_u32(a.v[i], b.v[i])); }
KVANT_INLINE Ints operator&(Ints a, Ints b) { KVANT_EACH(Ints, vandq_u32(a.v[i], b.v[i])); }
KVANT_INLINE Ints operator|(Ints a, Ints b) { KVANT_EACH(Ints, vorrq_u32(a.v[i], b.v[i])); }
template <int count>
KVANT_INLINE Ints shift_left(Ints a) { KVANT_EACH(Ints, vshlq_n_u32(a.v[i], count)); }
template <int count>
KVANT_INLINE Ints shift_right(Ints a) { KVANT_EACH(Ints, vshrq_n_u32(a.v[i], count)); }

KVANT_INLINE Ints bits_of(Vec a) { KVANT_EACH(Ints, vreinterpretq_u32_f32(a.v[i])); }
KVANT_INLINE Vec floats_of(Ints a) { KVANT_EACH(Vec, vreinterpretq_f32_u32(a.v[i])); }
KVANT_INLINE void store_low16(uint16_t* to, Ints a) {
  for (int i = 0; i < 4; i++) vst1_u16(to + 4 * i, vmovn_u32(a.v[i]));
}
KVANT_INLINE void store_low8(uint8_t* to, Ints a) {
  for (int i = 0; i < 4; i += 2) {
    vst1_u8(to + 4 * i, vmovn_u16(vcombine_u16(vmovn_u32(a.v[i]), vmovn_u32(a.v[i + 1]))));
  }
}

KVANT_INLINE float first_lane(Vec a) { return vgetq_lane_f32(a.v[0], 0); }
// The lanes of a tree's third stage: s4[j] = (s[j] + s[j + 8]) + (s[j + 4] + s[j + 12]).
KVANT_INLINE float32x4_t four_sums(Vec a) { return vaddq_f32(vaddq_f32(a.v[0], a.v[2]), vaddq_f32(a.v[1], a.v[3])); }
KVANT_INLINE float sum(Vec a) {
  const float32x4_t four = four_sums(a);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
KVANT_INLINE float largest(Vec a) {
  const float32x4_t four = greater_of(greater_of(a.v[0], a.v[2]), greater_of(a.v[1], a.v[3]));
  const float32x4_t two = greater_of(four, vextq_f32(four, four, 2));
  return vgetq_lane_f32(greater_of(two, vextq_f32(two, two, 1)), 0);
}

KVANT_INLINE void transpose_four(float32x4_t& a, float32x4_t& b, float32x4_t& c, float32x4_t& d) {
  const float32x4_t ab_even = vtrn1q_f32(a, b), ab_odd = vtrn2q_f32(a, b);
  const float32x4_t cd_even = vtrn1q_f32(c, d), cd_odd = vtrn2q_f32(c, d);
  a = vcombine_f32(vget_low_f32(ab_even), vget_low_f32(cd_even));
  b = vcombine_f32(vget_low_f32(ab_odd), vget_low_f32(cd_odd));
  c = vcombine_f32(vget_high_f32(ab_even), vget_high_f32(cd_even));
  d = vcombine_f32(vget_high_f32(ab_odd), vget_high_f32(cd_odd));
}
KVANT_INLINE Vec row_sums(const Vec* a) {
  Vec result;
  for (int i = 0; i < 4; i++) {
    float32x4_t w = four_sums(a[4 * i]), x = four_sums(a[4 * i + 1]), y = four_sums(a[4 * i + 2]), z = four_sums(a[4 * i + 3]);
    transpose_four(w, x, y, z);  // w holds lane 0 of the four rows, x lane 1, y lane 2, z lane 3
    result.v[i] = vaddq_f32(vaddq_f32(w, y), vaddq_f32(x, z));
  }
  return result;
}
KVANT_INLINE Vec row_maxima(const float* rows, int count) {
  float lanes[kLanes] = {};
  for (int i = 0; i < count; i++) lanes[i] = largest(load(rows + kLanes * i));
  return load(lanes);
}
KVANT_INLINE void transpose(Vec* a) {
  Vec rows[kLanes];
  for (int i = 0; i < 16; i += 4) {
    for (int j = 0; j < 4; j++) {
      transpose_four(a[i].v[j], a[i + 1].v[j], a[i + 2].v[j], a[i + 3].v[j]);
      for (int k = 0; k < 4; k++) rows[4 * j + k].v[i / 4] = a[i + k].v[j];
    }
  }
  for (int i = 0; i < 16; i++) a[i] = rows[i];
}

KVANT_INLINE Vec floats_of_words(int16x8_t low, int16x8_t high) {
  return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
           vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))}};
}
KVANT_INLINE float32x4_t floats_of_halves(uint16x4_t halves) { return vcvt_f32_f16(vreinterpret_f16_u16(halves)); }
KVANT_INLINE Vec floats_of_halves(uint16x8_t low, uint16x8_t high) {
  return {{floats_of_halves(vget_low_u16(low)), floats_of_halves(vget_high_u16(low)), floats_of_halves(vget_low_u16(high)),
           floats_of_halves(vget_high_u16(high))}};
}

KVANT_INLINE Vec load_int8(const uint8_t* codes) {
  const int8x16_t bytes = vreinterpretq_s8_u8(vld1q_u8(codes));
  return floats_of_words(vmovl_s8(vget_low_s8(bytes)), vmovl_s8(vget_high_s8(bytes)));
}
KVANT_INLINE Vec load_bf16(const uint16_t* codes) {
  KVANT_EACH(Vec, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(codes + 4 * i), 16)));
}
KVANT_INLINE Vec load_fp16(const uint16_t* codes) { KVANT_EACH(Vec, floats_of_halves(vld1_u16(codes + 4 * i))); }
// An E5M2 code is the upper byte of the binary16 number of the same value.
KVANT_INLINE Vec load_e5m2(const uint8_t* codes) {
  const uint8x16_t bytes = vld1q_u8(codes);
  return floats_of_halves(vshll_n_u8(vget_low_u8(bytes), 8), vshll_n_u8(vget_high_u8(bytes), 8));
}
// An E4M3 code shifted to binary16's exponent field is worth 2^-8 of its value: the biases are 7 and 15. The NaN codes
// become binary16 NaNs by the last or.
KVANT_INLINE uint16x8_t halves_of_e4m3(uint8x8_t bytes) {
  const int16x8_t extended = vmovl_s8(vreinterpret_s8_u8(bytes));
  const uint16x8_t fields = vandq_u16(vreinterpretq_u16_s16(vshlq_n_s16(extended, 7)), vdupq_n_u16(0xbf80));
  const uint16x8_t nan = vceqq_u16(vorrq_u16(fields, vdupq_n_u16(0x8000)), vdupq_n_u16(0xbf80));
  return vorrq_u16(fields, nan);
}
KVANT_INLINE Vec load_e4m3(const uint8_t* codes) {
  const uint8x16_t bytes = vld1q_u8(codes);
  return floats_of_halves(halves_of_e4m3(vget_low_u8(bytes)), halves_of_e4m3(vget_high_u8(bytes))) * splat(256.0f);
}

struct ByteDots {
  static constexpr bool present = false;
};

#undef KVANT_EACH

}  // namespace
}  // namespace kvant::neon
