// AbsMax, quantization and rounding of rows [count] of float32: each reads 4 * count bytes once. A rest below 4 values goes
// through a buffer filled up with zeros.
#include "row_passes.h"

#include <arm_neon.h>

namespace kvant::linear {
namespace {

constexpr float kMaxFloat = 3.402823466e38f;

float32x4_t load(const float* from, int64_t count) {
  if (count >= 4) return vld1q_f32(from);
  float lane[4] = {};
  for (int64_t i = 0; i < count; i++) lane[i] = from[i];
  return vld1q_f32(lane);
}

void store(float* to, float32x4_t a, int64_t count) {
  if (count >= 4) return vst1q_f32(to, a);
  float lane[4];
  vst1q_f32(lane, a);
  for (int64_t i = 0; i < count; i++) to[i] = lane[i];
}

}  // namespace

float absmax_neon(const float* x, int64_t count) {
  float32x4_t largest = vdupq_n_f32(0);
  // The "number" maximum with a NaN is the other operand.
  for (int64_t i = 0; i < count; i += 4) largest = vmaxnmq_f32(largest, vabsq_f32(load(x + i, count - i)));
  return vmaxvq_f32(vminq_f32(largest, vdupq_n_f32(kMaxFloat)));
}

void quantize_neon(const float* x, int64_t count, float scale, float limit, int8_t* codes) {
  for (int64_t i = 0; i < count; i += 4) {
    const float32x4_t quotient = vdivq_f32(load(x + i, count - i), vdupq_n_f32(scale));
    const float32x4_t clamped = vmaxq_f32(vminq_f32(quotient, vdupq_n_f32(limit)), vdupq_n_f32(-limit));
    const int32x4_t rounded = vcvtnq_s32_f32(clamped);  // NaN becomes 0
    int32_t lane[4];
    vst1q_s32(lane, rounded);
    for (int64_t j = 0; j < 4 && i + j < count; j++) codes[i + j] = static_cast<int8_t>(lane[j]);
  }
}

void round_bf16_neon(const float* x, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i += 4) {
    const uint32x4_t pattern = vreinterpretq_u32_f32(load(x + i, count - i));
    const uint32x4_t sign = vandq_u32(pattern, vdupq_n_u32(0x80000000u));
    const uint32x4_t magnitude = vbicq_u32(pattern, vdupq_n_u32(0x80000000u));
    const uint32x4_t even = vandq_u32(vshrq_n_u32(magnitude, 16), vdupq_n_u32(1));
    const uint32x4_t raised = vaddq_u32(vaddq_u32(magnitude, even), vdupq_n_u32(0x7fff));
    uint32x4_t rounded = vminq_u32(vandq_u32(raised, vdupq_n_u32(0xffff0000u)), vdupq_n_u32(0x7f7f0000u));
    rounded = vbslq_u32(vcgtq_u32(magnitude, vdupq_n_u32(0x7f800000u)), vdupq_n_u32(0x7fc00000u), rounded);
    store(out + i, vreinterpretq_f32_u32(vorrq_u32(rounded, sign)), count - i);
  }
}

void round_fp16_neon(const float* x, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i += 4) {
    // This minimum and maximum keep a NaN.
    const float32x4_t upper = vminq_f32(load(x + i, count - i), vdupq_n_f32(65504.0f));
    const float32x4_t clamped = vmaxq_f32(upper, vdupq_n_f32(-65504.0f));
    store(out + i, vcvt_f32_f16(vcvt_f16_f32(clamped)), count - i);
  }
}

}  // namespace kvant::linear
