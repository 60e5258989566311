// AbsMax, quantization and rounding of rows [count] of float32: each reads 4 * count bytes once. Rests below 16 values are
// masked, and masked lanes read as 0.
#include "row_passes.h"

#include "cpu/simd/avx512_intrinsics.h"

namespace kvant::linear {
namespace {

__mmask16 lanes(int64_t count) { return count >= 16 ? 0xffff : static_cast<__mmask16>((1u << count) - 1); }

constexpr float kMaxFloat = 3.402823466e38f;

}  // namespace

float absmax_avx512vnni(const float* x, int64_t count) {
  __m512 largest = _mm512_setzero_ps();
  for (int64_t i = 0; i < count; i += 16) {
    // The maximum with a NaN is its second operand.
    largest = _mm512_max_ps(_mm512_abs_ps(_mm512_maskz_loadu_ps(lanes(count - i), x + i)), largest);
  }
  return _mm512_reduce_max_ps(_mm512_min_ps(largest, _mm512_set1_ps(kMaxFloat)));
}

void quantize_avx512vnni(const float* x, int64_t count, float scale, float limit, int8_t* codes) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 mask = lanes(count - i);
    const __m512 quotient = _mm512_div_ps(_mm512_maskz_loadu_ps(mask, x + i), _mm512_set1_ps(scale));
    const __m512 number = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(quotient, quotient, _CMP_ORD_Q), quotient);
    const __m512 clamped = _mm512_max_ps(_mm512_min_ps(number, _mm512_set1_ps(limit)), _mm512_set1_ps(-limit));
    const __m512i rounded = _mm512_cvt_roundps_epi32(clamped, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm512_mask_cvtepi32_storeu_epi8(codes + i, mask, rounded);
  }
}

void round_bf16_avx512vnni(const float* x, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 mask = lanes(count - i);
    const __m512i pattern = _mm512_castps_si512(_mm512_maskz_loadu_ps(mask, x + i));
    const __m512i sign = _mm512_and_si512(pattern, _mm512_set1_epi32(static_cast<int>(0x80000000u)));
    const __m512i magnitude = _mm512_andnot_si512(_mm512_set1_epi32(static_cast<int>(0x80000000u)), pattern);
    const __m512i even = _mm512_and_si512(_mm512_srli_epi32(magnitude, 16), _mm512_set1_epi32(1));
    const __m512i raised = _mm512_add_epi32(_mm512_add_epi32(magnitude, even), _mm512_set1_epi32(0x7fff));
    __m512i rounded = _mm512_and_si512(raised, _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
    rounded = _mm512_min_epu32(rounded, _mm512_set1_epi32(0x7f7f0000));
    const __mmask16 nan = _mm512_cmpgt_epi32_mask(magnitude, _mm512_set1_epi32(0x7f800000));
    rounded = _mm512_mask_mov_epi32(rounded, nan, _mm512_set1_epi32(0x7fc00000));
    _mm512_mask_storeu_ps(out + i, mask, _mm512_castsi512_ps(_mm512_or_si512(rounded, sign)));
  }
}

void round_fp16_avx512vnni(const float* x, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 mask = lanes(count - i);
    const __m512 value = _mm512_maskz_loadu_ps(mask, x + i);
    // With the value second, a NaN stays.
    const __m512 clamped = _mm512_max_ps(_mm512_set1_ps(-65504.0f), _mm512_min_ps(_mm512_set1_ps(65504.0f), value));
    const __m256i half = _mm512_cvtps_ph(clamped, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm512_mask_storeu_ps(out + i, mask, _mm512_cvtph_ps(half));
  }
}

}  // namespace kvant::linear
