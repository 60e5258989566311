#include <immintrin.h>

#include "cpu/multiply_peak.h"

#define KVANT_VECTOR_REGISTER "+x"

namespace kvant::avx2_multiply {

#include "cpu/multiply_peak.inc.h"

int64_t float32_rounds(int64_t rounds) {
  const __m256 a = _mm256_set1_ps(0.75f), b = _mm256_set1_ps(1.25f);
  return multiply_rounds<__m256>(rounds, 8, [=](__m256 sum) { return _mm256_fmadd_ps(a, b, sum); });
}

// vpmaddubsw, vpmaddwd, vpaddd: what stands for a dot product of bytes without VNNI.
int64_t int8_rounds(int64_t rounds) {
  const __m256i b = _mm256_set1_epi8(-57), ones = _mm256_set1_epi16(1);
  return multiply_rounds<__m256i>(rounds, 32, [=](__m256i sum) {
    // The sum is an operand, or the product would be taken out of the loop.
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(sum, b), ones));
  });
}

}  // namespace kvant::avx2_multiply
