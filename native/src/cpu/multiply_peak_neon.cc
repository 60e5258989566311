#include <arm_neon.h>

#include "cpu/multiply_peak.h"

#define KVANT_VECTOR_REGISTER "+w"

namespace kvant::neon_multiply {

#include "cpu/multiply_peak.inc.h"

int64_t float32_rounds(int64_t rounds) {
  const float32x4_t a = vdupq_n_f32(0.75f), b = vdupq_n_f32(1.25f);
  return multiply_rounds<float32x4_t>(rounds, 4, [=](float32x4_t sum) { return vfmaq_f32(sum, a, b); });
}

int64_t int8_rounds(int64_t rounds) {
  const int8x16_t a = vdupq_n_s8(93), b = vdupq_n_s8(-57);
  return multiply_rounds<int32x4_t>(rounds, 16, [=](int32x4_t sum) { return vdotq_s32(sum, a, b); });
}

}  // namespace kvant::neon_multiply
