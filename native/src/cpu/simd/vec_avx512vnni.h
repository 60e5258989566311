#pragma once
// Sixteen float lanes in one 512-bit register. See vec_scalar.h for what the names mean.
#include "cpu/simd/avx512_intrinsics.h"

#include <cstdint>
#include <cstring>

#define KVANT_INLINE inline __attribute__((always_inline))

namespace kvant::avx512vnni {
namespace {

constexpr int kLanes = 16;
// Sixteen sums (8 rows x 2 or 4 x 4), four operands and a broadcast stay within 32 registers.
constexpr int kRowBlock = 8;
constexpr int kValueBlock = 4;
constexpr int kKeyBlock = 4;

struct Vec {
  __m512 v;
};
struct Ints {
  __m512i v;
};
struct Mask {
  __mmask16 v;
};

KVANT_INLINE __mmask16 first_lanes(int count) { return static_cast<__mmask16>((1u << count) - 1); }

KVANT_INLINE Vec splat(float value) { return {_mm512_set1_ps(value)}; }
KVANT_INLINE Vec load(const float* from) { return {_mm512_loadu_ps(from)}; }
KVANT_INLINE Vec load_part(const float* from, int count) { return {_mm512_maskz_loadu_ps(first_lanes(count), from)}; }
KVANT_INLINE void store(float* to, Vec a) { _mm512_storeu_ps(to, a.v); }
KVANT_INLINE void store_part(float* to, Vec a, int count) { _mm512_mask_storeu_ps(to, first_lanes(count), a.v); }

KVANT_INLINE Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
KVANT_INLINE Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
KVANT_INLINE Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
KVANT_INLINE Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
KVANT_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
KVANT_INLINE Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }

KVANT_INLINE Mask operator<(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
KVANT_INLINE Mask is_nan(Vec a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
KVANT_INLINE Mask lanes_between(int begin, int end) {
  const uint32_t below_end = end >= kLanes ? 0xffffu : end <= 0 ? 0u : (1u << end) - 1;
  const uint32_t below_begin = begin >= kLanes ? 0xffffu : begin <= 0 ? 0u : (1u << begin) - 1;
  return {static_cast<__mmask16>(below_end & ~below_begin)};
}
KVANT_INLINE int count_lanes(Mask mask) { return __builtin_popcount(mask.v); }
KVANT_INLINE Vec select(Mask mask, Vec yes, Vec no) { return {_mm512_mask_blend_ps(mask.v, no.v, yes.v)}; }
KVANT_INLINE Ints select(Mask mask, Ints yes, Ints no) { return {_mm512_mask_blend_epi32(mask.v, no.v, yes.v)}; }

KVANT_INLINE Ints splat_int(uint32_t value) { return {_mm512_set1_epi32(static_cast<int>(value))}; }
KVANT_INLINE Ints operator+(Ints a, Ints b) { return {_mm512_add_epi32(a.v, b.v)}; }
KVANT_INLINE Ints operator-(Ints a, Ints b) { return {_mm512_sub_epi32(a.v, b.v)}; }
KVANT_INLINE Ints operator&(Ints a, Ints b) { return {_mm512_and_si512(a.v, b.v)}; }
KVANT_INLINE Ints operator|(Ints a, Ints b) { return {_mm512_or_si512(a.v, b.v)}; }
template <int count>
KVANT_INLINE Ints shift_left(Ints a) { return {_mm512_slli_epi32(a.v, count)}; }
template <int count>
KVANT_INLINE Ints shift_right(Ints a) { return {_mm512_srli_epi32(a.v, count)}; }

KVANT_INLINE Ints bits_of(Vec a) { return {_mm512_castps_si512(a.v)}; }
KVANT_INLINE Vec floats_of(Ints a) { return {_mm512_castsi512_ps(a.v)}; }
KVANT_INLINE void store_low8(uint8_t* to, Ints a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(a.v));
}
KVANT_INLINE void store_low16(uint16_t* to, Ints a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(a.v));
}

KVANT_INLINE float first_lane(Vec a) { return _mm512_cvtss_f32(a.v); }
KVANT_INLINE float sum(Vec a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
KVANT_INLINE float largest(Vec a) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// Each stage halves the lanes of two rows and puts the halves of one beside those of the other, so that the sixteen
// trees share their joins. Rows meet in the order that leaves row t in lane t at the end.
template <typename Join>
KVANT_INLINE Vec join_rows(const Vec* a, const Join& join) {
  __m512 eight[8], four[4], two[2];
  for (int i = 0; i < 8; i++) {
    const __m512 x = a[i].v, y = a[i + 8].v;
    eight[i] = join(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xee));
  }
  for (int i = 0; i < 4; i++) {  // 128-bit parts 0, 2 and 1, 3 of both
    const __m512 x = eight[i], y = eight[i + 4];
    four[i] = join(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd));
  }
  for (int i = 0; i < 2; i++) {
    const __m512 x = four[i], y = four[i + 2];
    two[i] = join(_mm512_shuffle_ps(x, y, 0x44), _mm512_shuffle_ps(x, y, 0xee));
  }
  const __m512 one = join(_mm512_shuffle_ps(two[0], two[1], 0x88), _mm512_shuffle_ps(two[0], two[1], 0xdd));
  // Part p, element e now holds row 8 * (p & 1) + 4 * (p >> 1) + 2 * (e & 1) + (e >> 1).
  const __m512i order = _mm512_setr_epi32(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15);
  return {_mm512_permutexvar_ps(order, one)};
}
KVANT_INLINE Vec row_sums(const Vec* a) {
  return join_rows(a, [](__m512 x, __m512 y) { return _mm512_add_ps(x, y); });
}
KVANT_INLINE Vec row_maxima(const float* rows, int count) {
  if (count == 1) return splat(largest(load(rows)));
  Vec a[16];
  for (int i = 0; i < 16; i++) a[i] = load(rows + kLanes * (i < count ? i : 0));
  return join_rows(a, [](__m512 x, __m512 y) { return _mm512_max_ps(x, y); });
}

KVANT_INLINE void transpose(Vec* a) {
  __m512 pairs[16], quads[16];
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(a[i].v, a[i + 1].v);
    pairs[i + 1] = _mm512_unpackhi_ps(a[i].v, a[i + 1].v);
  }
  for (int i = 0; i < 16; i += 4) {  // quads[i + c] holds columns 4p + c of rows i .. i + 3, part p
    quads[i] = _mm512_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
    quads[i + 1] = _mm512_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
    quads[i + 2] = _mm512_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
    quads[i + 3] = _mm512_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
  }
  for (int c = 0; c < 4; c++) {
    const __m512 low_even = _mm512_shuffle_f32x4(quads[c], quads[4 + c], 0x88);
    const __m512 low_odd = _mm512_shuffle_f32x4(quads[c], quads[4 + c], 0xdd);
    const __m512 high_even = _mm512_shuffle_f32x4(quads[8 + c], quads[12 + c], 0x88);
    const __m512 high_odd = _mm512_shuffle_f32x4(quads[8 + c], quads[12 + c], 0xdd);
    a[c].v = _mm512_shuffle_f32x4(low_even, high_even, 0x88);
    a[4 + c].v = _mm512_shuffle_f32x4(low_odd, high_odd, 0x88);
    a[8 + c].v = _mm512_shuffle_f32x4(low_even, high_even, 0xdd);
    a[12 + c].v = _mm512_shuffle_f32x4(low_odd, high_odd, 0xdd);
  }
}

KVANT_INLINE __m128i load_bytes(const uint8_t* codes) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)); }

KVANT_INLINE Vec load_int8(const uint8_t* codes) { return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_bytes(codes)))}; }
KVANT_INLINE Vec load_bf16(const uint16_t* codes) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))};
}
KVANT_INLINE Vec load_fp16(const uint16_t* codes) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes)))};
}
// An E5M2 code is the upper byte of the binary16 number of the same value.
KVANT_INLINE Vec load_e5m2(const uint8_t* codes) {
  return {_mm512_cvtph_ps(_mm256_slli_epi16(_mm256_cvtepu8_epi16(load_bytes(codes)), 8))};
}
// An E4M3 code shifted to binary16's exponent field is worth 2^-8 of its value: the biases are 7 and 15. Going through
// binary16 keeps subnormal codes away from slow float32 subnormals. The NaN codes become binary16 NaNs by the last or.
KVANT_INLINE Vec load_e4m3(const uint8_t* codes) {
  const __m256i fields = _mm256_and_si256(_mm256_slli_epi16(_mm256_cvtepi8_epi16(load_bytes(codes)), 7), _mm256_set1_epi16(-0x4080));
  const __m256i nan = _mm256_cmpeq_epi16(_mm256_or_si256(fields, _mm256_set1_epi16(-0x8000)), _mm256_set1_epi16(-0x4080));
  return {_mm512_mul_ps(_mm512_cvtph_ps(_mm256_or_si256(fields, nan)), _mm512_set1_ps(256.0f))};
}

struct ByteDots {
  static constexpr bool present = true;

  // sum += products of unsigned by signed bytes. GCC 12 copies the sum before and after the intrinsic.
  static KVANT_INLINE Ints dot(Ints unsigned_bytes, Ints signed_bytes, Ints sum) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum.v) : "v"(unsigned_bytes.v), "vm"(signed_bytes.v));
    return sum;
  }
  static KVANT_INLINE Vec floats_from(Ints a) { return {_mm512_cvtepi32_ps(a.v)}; }
  static KVANT_INLINE Ints splat_four(const uint8_t* bytes) {
    int pattern;
    std::memcpy(&pattern, bytes, sizeof pattern);
    return {_mm512_set1_epi32(pattern)};
  }
  // Keys are the unsigned side: 128 is added to their codes.
  static constexpr int32_t kKeyOffset = 128;
  static KVANT_INLINE Ints as_key(Ints codes) { return {_mm512_xor_si512(codes.v, _mm512_set1_epi8(-128))}; }

  // Values: 64 dims of four positions, interleaved, fill four registers. Lane 4 * part + e of register c holds the four codes
  // of dim 16 * part + 4 * c + e, because unpacking works inside 128-bit parts.
  static constexpr int kChunk = 64;
  // `count` codes, zeros behind them.
  static KVANT_INLINE Ints load_codes(const uint8_t* from, int64_t count) {
    if (count >= kChunk) return {_mm512_loadu_si512(from)};
    return {_mm512_maskz_loadu_epi8((uint64_t{1} << count) - 1, from)};
  }
  // Dims 0 .. count - 1 of the positions v, v + stride, ... to [4, 16] lanes; zeros behind count.
  static KVANT_INLINE void interleave(const uint8_t* v, int64_t stride, int64_t count, float* to) {
    const __m512i a = load_codes(v, count).v, b = load_codes(v + stride, count).v;
    const __m512i c = load_codes(v + 2 * stride, count).v, d = load_codes(v + 3 * stride, count).v;
    const __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
    const __m512i cd_low = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
    _mm512_storeu_si512(to + 0, _mm512_unpacklo_epi16(ab_low, cd_low));
    _mm512_storeu_si512(to + 16, _mm512_unpackhi_epi16(ab_low, cd_low));
    _mm512_storeu_si512(to + 32, _mm512_unpacklo_epi16(ab_high, cd_high));
    _mm512_storeu_si512(to + 48, _mm512_unpackhi_epi16(ab_high, cd_high));
  }
  // Sums over interleaved values, [width], to the order of dims.
  static KVANT_INLINE void order_dims(const float* sums, int64_t width, float* ordered) {
    for (int64_t d = 0; d < width; d += kChunk) {
      for (int c = 0; c < 4; c++) {
        for (int part = 0; part < 4; part++) {
          std::memcpy(ordered + d + 16 * part + 4 * c, sums + d + 16 * c + 4 * part, 4 * sizeof(float));
        }
      }
    }
  }
};

}  // namespace
}  // namespace kvant::avx512vnni
