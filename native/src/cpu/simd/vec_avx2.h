#pragma once
// Sixteen float lanes in two 256-bit registers. See vec_scalar.h for what the names mean.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#define KVANT_INLINE inline __attribute__((always_inline))

namespace kvant::avx2 {
namespace {

constexpr int kLanes = 16;
// 4 sums and a value of two registers each, and a weight, fill 11 of 16 registers.
constexpr int kRowBlock = 4;
constexpr int kValueBlock = 1;
constexpr int kKeyBlock = 1;

struct Vec {
  __m256 low, high;
};
struct Ints {
  __m256i low, high;
};
struct Mask {
  __m256 low, high;  // all bits of a lane
};

KVANT_INLINE __m256 lane_numbers() { return _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7); }
// Lanes i with i < count, of lanes first .. first + 7.
KVANT_INLINE __m256 lanes_below(int count, int first) {
  return _mm256_cmp_ps(lane_numbers(), _mm256_set1_ps(static_cast<float>(count - first)), _CMP_LT_OQ);
}

KVANT_INLINE Vec splat(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
KVANT_INLINE Vec load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
KVANT_INLINE Vec load_part(const float* from, int count) {
  return {_mm256_maskload_ps(from, _mm256_castps_si256(lanes_below(count, 0))),
          _mm256_maskload_ps(from + 8, _mm256_castps_si256(lanes_below(count, 8)))};
}
KVANT_INLINE void store(float* to, Vec a) {
  _mm256_storeu_ps(to, a.low);
  _mm256_storeu_ps(to + 8, a.high);
}
KVANT_INLINE void store_part(float* to, Vec a, int count) {
  _mm256_maskstore_ps(to, _mm256_castps_si256(lanes_below(count, 0)), a.low);
  _mm256_maskstore_ps(to + 8, _mm256_castps_si256(lanes_below(count, 8)), a.high);
}

KVANT_INLINE Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
KVANT_INLINE Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
KVANT_INLINE Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
KVANT_INLINE Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
KVANT_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
KVANT_INLINE Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }

KVANT_INLINE Mask operator<(Vec a, Vec b) {
  return {_mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ)};
}
KVANT_INLINE Mask is_nan(Vec a) {
  return {_mm256_cmp_ps(a.low, a.low, _CMP_UNORD_Q), _mm256_cmp_ps(a.high, a.high, _CMP_UNORD_Q)};
}
KVANT_INLINE Mask lanes_between(int begin, int end) {
  return {_mm256_andnot_ps(lanes_below(begin, 0), lanes_below(end, 0)),
          _mm256_andnot_ps(lanes_below(begin, 8), lanes_below(end, 8))};
}
KVANT_INLINE int count_lanes(Mask mask) {
  return __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(mask.low) | _mm256_movemask_ps(mask.high) << 8));
}
KVANT_INLINE Vec select(Mask mask, Vec yes, Vec no) {
  return {_mm256_blendv_ps(no.low, yes.low, mask.low), _mm256_blendv_ps(no.high, yes.high, mask.high)};
}
KVANT_INLINE Ints bits_of(Vec a) { return {_mm256_castps_si256(a.low), _mm256_castps_si256(a.high)}; }
KVANT_INLINE Vec floats_of(Ints a) { return {_mm256_castsi256_ps(a.low), _mm256_castsi256_ps(a.high)}; }
KVANT_INLINE Ints select(Mask mask, Ints yes, Ints no) { return bits_of(select(mask, floats_of(yes), floats_of(no))); }

KVANT_INLINE Ints splat_int(uint32_t value) {
  return {_mm256_set1_epi32(static_cast<int>(value)), _mm256_set1_epi32(static_cast<int>(value))};
}
KVANT_INLINE Ints operator+(Ints a, Ints b) { return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)}; }
KVANT_INLINE Ints operator-(Ints a, Ints b) { return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)}; }
KVANT_INLINE Ints operator&(Ints a, Ints b) { return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)}; }
KVANT_INLINE Ints operator|(Ints a, Ints b) { return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)}; }
template <int count>
KVANT_INLINE Ints shift_left(Ints a) { return {_mm256_slli_epi32(a.low, count), _mm256_slli_epi32(a.high, count)}; }
template <int count>
KVANT_INLINE Ints shift_right(Ints a) { return {_mm256_srli_epi32(a.low, count), _mm256_srli_epi32(a.high, count)}; }

// The low 16 bits of each lane, in order; packing works on halves of registers, hence the last permutation.
KVANT_INLINE __m256i low_words(Ints a) {
  const __m256i mask = _mm256_set1_epi32(0xffff);
  const __m256i packed = _mm256_packus_epi32(_mm256_and_si256(a.low, mask), _mm256_and_si256(a.high, mask));
  return _mm256_permute4x64_epi64(packed, 0xd8);
}
KVANT_INLINE void store_low16(uint16_t* to, Ints a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), low_words(a)); }
KVANT_INLINE void store_low8(uint8_t* to, Ints a) {
  const __m256i bytes = _mm256_and_si256(low_words(a), _mm256_set1_epi16(0xff));
  const __m128i packed = _mm_packus_epi16(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), packed);
}

KVANT_INLINE float first_lane(Vec a) { return _mm256_cvtss_f32(a.low); }
KVANT_INLINE float sum(Vec a) {
  const __m256 eight = _mm256_add_ps(a.low, a.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
KVANT_INLINE float largest(Vec a) {
  const __m256 eight = _mm256_max_ps(a.low, a.high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// Eight rows of eight sums s8; each stage halves the lanes of two rows and puts one beside the other.
KVANT_INLINE __m256 row_sums_of_eight(const Vec* a) {
  __m256 four[4], two[2];
  for (int i = 0; i < 4; i++) {
    const __m256 x = _mm256_add_ps(a[i].low, a[i].high), y = _mm256_add_ps(a[i + 4].low, a[i + 4].high);
    four[i] = _mm256_add_ps(_mm256_permute2f128_ps(x, y, 0x20), _mm256_permute2f128_ps(x, y, 0x31));
  }
  for (int i = 0; i < 2; i++) {
    const __m256 x = four[i], y = four[i + 2];
    two[i] = _mm256_add_ps(_mm256_shuffle_ps(x, y, 0x44), _mm256_shuffle_ps(x, y, 0xee));
  }
  const __m256 one = _mm256_add_ps(_mm256_shuffle_ps(two[0], two[1], 0x88), _mm256_shuffle_ps(two[0], two[1], 0xdd));
  return _mm256_permute_ps(one, 0xd8);  // element e of a half held row 2 * (e & 1) + (e >> 1)
}
KVANT_INLINE Vec row_sums(const Vec* a) { return {row_sums_of_eight(a), row_sums_of_eight(a + 8)}; }

KVANT_INLINE void transpose_eight(__m256* rows) {
  __m256 pairs[8], quads[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    quads[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
    quads[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
    quads[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
    quads[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
  }
  for (int c = 0; c < 4; c++) {
    rows[c] = _mm256_permute2f128_ps(quads[c], quads[4 + c], 0x20);
    rows[4 + c] = _mm256_permute2f128_ps(quads[c], quads[4 + c], 0x31);
  }
}
KVANT_INLINE Vec row_maxima(const float* rows, int count) {
  float lanes[kLanes] = {};
  for (int i = 0; i < count; i++) lanes[i] = largest(load(rows + kLanes * i));
  return load(lanes);
}
KVANT_INLINE void transpose(Vec* a) {
  __m256 quarters[2][2][8];  // [row half][column half]
  for (int i = 0; i < 16; i++) {
    quarters[i / 8][0][i % 8] = a[i].low;
    quarters[i / 8][1][i % 8] = a[i].high;
  }
  for (auto& half : quarters) {
    for (auto& quarter : half) transpose_eight(quarter);
  }
  for (int i = 0; i < 16; i++) {
    a[i].low = quarters[0][i / 8][i % 8];
    a[i].high = quarters[1][i / 8][i % 8];
  }
}

KVANT_INLINE __m128i load_bytes(const uint8_t* codes) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)); }
KVANT_INLINE __m256i load_words(const uint16_t* codes) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes)); }
KVANT_INLINE Vec floats_of_halves(__m256i halves) {
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(halves)), _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1))};
}

KVANT_INLINE Vec load_int8(const uint8_t* codes) {
  const __m128i bytes = load_bytes(codes);
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
}
KVANT_INLINE Vec load_bf16(const uint16_t* codes) {
  const __m256i words = load_words(codes);
  const __m256i low = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(words));
  const __m256i high = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(words, 1));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(low, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(high, 16))};
}
KVANT_INLINE Vec load_fp16(const uint16_t* codes) { return floats_of_halves(load_words(codes)); }
// An E5M2 code is the upper byte of the binary16 number of the same value.
KVANT_INLINE Vec load_e5m2(const uint8_t* codes) {
  return floats_of_halves(_mm256_slli_epi16(_mm256_cvtepu8_epi16(load_bytes(codes)), 8));
}
// An E4M3 code shifted to binary16's exponent field is worth 2^-8 of its value: the biases are 7 and 15. Going through
// binary16 keeps subnormal codes away from slow float32 subnormals. The NaN codes become binary16 NaNs by the last or.
KVANT_INLINE Vec load_e4m3(const uint8_t* codes) {
  const __m256i fields = _mm256_and_si256(_mm256_slli_epi16(_mm256_cvtepi8_epi16(load_bytes(codes)), 7), _mm256_set1_epi16(-0x4080));
  const __m256i nan = _mm256_cmpeq_epi16(_mm256_or_si256(fields, _mm256_set1_epi16(-0x8000)), _mm256_set1_epi16(-0x4080));
  return floats_of_halves(_mm256_or_si256(fields, nan)) * splat(256.0f);
}

struct ByteDots {
  static constexpr bool present = false;
};

}  // namespace
}  // namespace kvant::avx2
