// AbsMax, quantization and rounding of rows [count] of float32: each reads 4 * count bytes once. Rests below 8 values are
// masked, and masked lanes read as 0.
#include "row_passes.h"

#include <immintrin.h>

namespace kvant::linear {
namespace {

constexpr float kMaxFloat = 3.402823466e38f;

__m256i lanes(int64_t count) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count >= 8 ? 8 : static_cast<int>(count)), index);
}

__m256 magnitude_of(__m256 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }

}  // namespace

float absmax_avx2(const float* x, int64_t count) {
  __m256 largest = _mm256_setzero_ps();
  for (int64_t i = 0; i < count; i += 8) {
    // The maximum with a NaN is its second operand.
    largest = _mm256_max_ps(magnitude_of(_mm256_maskload_ps(x + i, lanes(count - i))), largest);
  }
  alignas(32) float lane[8];
  _mm256_store_ps(lane, _mm256_min_ps(largest, _mm256_set1_ps(kMaxFloat)));
  float most = 0;
  for (float each : lane) most = each > most ? each : most;
  return most;
}

void quantize_avx2(const float* x, int64_t count, float scale, float limit, int8_t* codes) {
  for (int64_t i = 0; i < count; i += 8) {
    const __m256 quotient = _mm256_div_ps(_mm256_maskload_ps(x + i, lanes(count - i)), _mm256_set1_ps(scale));
    const __m256 number = _mm256_and_ps(_mm256_cmp_ps(quotient, quotient, _CMP_ORD_Q), quotient);
    const __m256 clamped = _mm256_max_ps(_mm256_min_ps(number, _mm256_set1_ps(limit)), _mm256_set1_ps(-limit));
    const __m256i rounded =
        _mm256_cvtps_epi32(_mm256_round_ps(clamped, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
    alignas(16) int8_t bytes[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(bytes), _mm_packs_epi16(words, words));
    __builtin_memcpy(codes + i, bytes, count - i >= 8 ? 8 : static_cast<size_t>(count - i));
  }
}

void round_bf16_avx2(const float* x, int64_t count, float* out) {
  const __m256i sign_bit = _mm256_set1_epi32(static_cast<int>(0x80000000u));
  for (int64_t i = 0; i < count; i += 8) {
    const __m256i mask = lanes(count - i);
    const __m256i pattern = _mm256_castps_si256(_mm256_maskload_ps(x + i, mask));
    const __m256i magnitude = _mm256_andnot_si256(sign_bit, pattern);
    const __m256i even = _mm256_and_si256(_mm256_srli_epi32(magnitude, 16), _mm256_set1_epi32(1));
    const __m256i raised = _mm256_add_epi32(_mm256_add_epi32(magnitude, even), _mm256_set1_epi32(0x7fff));
    __m256i rounded = _mm256_and_si256(raised, _mm256_set1_epi32(static_cast<int>(0xffff0000u)));
    rounded = _mm256_min_epu32(rounded, _mm256_set1_epi32(0x7f7f0000));
    const __m256i nan = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x7f800000));
    rounded = _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc00000), nan);
    _mm256_maskstore_ps(out + i, mask, _mm256_castsi256_ps(_mm256_or_si256(rounded, _mm256_and_si256(pattern, sign_bit))));
  }
}

void round_fp16_avx2(const float* x, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i += 8) {
    const __m256i mask = lanes(count - i);
    // With the value second, a NaN stays.
    const __m256 upper = _mm256_min_ps(_mm256_set1_ps(65504.0f), _mm256_maskload_ps(x + i, mask));
    const __m256 clamped = _mm256_max_ps(_mm256_set1_ps(-65504.0f), upper);
    _mm256_maskstore_ps(out + i, mask, _mm256_cvtph_ps(_mm256_cvtps_ph(clamped, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)));
  }
}

}  // namespace kvant::linear
