#pragma once
#include <cstdint>

// Runs `rounds` rounds of independent multiply-adds with operands in registers and returns how many there were, counting
// each lane: in float32, or of 8-bit integers as the tier's linear kernels multiply them. One copy per tier.
namespace kvant::scalar_multiply {
int64_t float32_rounds(int64_t rounds);
int64_t int8_rounds(int64_t rounds);
}  // namespace kvant::scalar_multiply
namespace kvant::avx2_multiply {
int64_t float32_rounds(int64_t rounds);
int64_t int8_rounds(int64_t rounds);
}  // namespace kvant::avx2_multiply
namespace kvant::avxvnni_multiply {
int64_t int8_rounds(int64_t rounds);  // float32 is avx2's
}  // namespace kvant::avxvnni_multiply
namespace kvant::avx512vnni_multiply {
int64_t float32_rounds(int64_t rounds);
int64_t int8_rounds(int64_t rounds);
}  // namespace kvant::avx512vnni_multiply
namespace kvant::amx_multiply {
int64_t int8_rounds(int64_t rounds);  // float32 is avx512vnni's
}  // namespace kvant::amx_multiply
namespace kvant::neon_multiply {
int64_t float32_rounds(int64_t rounds);
int64_t int8_rounds(int64_t rounds);
}  // namespace kvant::neon_multiply
