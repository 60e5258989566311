#include <immintrin.h>

#include "cpu/multiply_peak.h"

#define KVANT_VECTOR_REGISTER "+v"

namespace kvant::avx512vnni_multiply {

#include "cpu/multiply_peak.inc.h"

int64_t float32_rounds(int64_t rounds) {
  const __m512 a = _mm512_set1_ps(0.75f), b = _mm512_set1_ps(1.25f);
  return multiply_rounds<__m512>(rounds, 16, [=](__m512 sum) { return _mm512_fmadd_ps(a, b, sum); });
}

int64_t int8_rounds(int64_t rounds) {
  const __m512i a = _mm512_set1_epi8(93), b = _mm512_set1_epi8(-57);
  return multiply_rounds<__m512i>(rounds, 64, [=](__m512i sum) { return _mm512_dpbusd_epi32(sum, a, b); });
}

}  // namespace kvant::avx512vnni_multiply
