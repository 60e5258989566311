#pragma once
#include <cstdint>

// The passes over rows of float32 that LinearKernels describes, one set per vector tier.
#define KVANT_DECLARE_ROW_PASSES(tier)                                                                  \
  float absmax_##tier(const float* x, int64_t count);                                                   \
  void quantize_##tier(const float* x, int64_t count, float scale, float limit, int8_t* codes);         \
  void round_bf16_##tier(const float* x, int64_t count, float* out);                                    \
  void round_fp16_##tier(const float* x, int64_t count, float* out)

namespace kvant::linear {
KVANT_DECLARE_ROW_PASSES(avx2);
KVANT_DECLARE_ROW_PASSES(avx512vnni);
KVANT_DECLARE_ROW_PASSES(neon);
}  // namespace kvant::linear
#undef KVANT_DECLARE_ROW_PASSES
