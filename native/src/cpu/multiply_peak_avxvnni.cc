#include <immintrin.h>

#include "cpu/multiply_peak.h"

#define KVANT_VECTOR_REGISTER "+x"

namespace kvant::avxvnni_multiply {

#include "cpu/multiply_peak.inc.h"

int64_t int8_rounds(int64_t rounds) {
  const __m256i a = _mm256_set1_epi8(57), b = _mm256_set1_epi8(-57);
  return multiply_rounds<__m256i>(rounds, 32, [=](__m256i sum) { return _mm256_dpbusd_avx_epi32(sum, a, b); });
}

}  // namespace kvant::avxvnni_multiply
