#include "cpu/multiply_peak.h"

#if KVANT_ARCH_X86
#define KVANT_VECTOR_REGISTER "+x"
#elif KVANT_ARCH_ARM64
#define KVANT_VECTOR_REGISTER "+w"
#else
#define KVANT_VECTOR_REGISTER "+m"
#endif

namespace kvant::scalar_multiply {

#include "cpu/multiply_peak.inc.h"

// Vectors of 16 bytes, which compilers give to portable loops on every 64-bit machine.
using Floats = float __attribute__((vector_size(16)));
using Words = uint32_t __attribute__((vector_size(16)));

int64_t float32_rounds(int64_t rounds) {
  const Floats b = {1.25f, 1.25f, 1.25f, 1.25f}, a = b - 0.5f;
  return multiply_rounds<Floats>(rounds, 4, [=](Floats sum) { return sum * b + a; });
}

int64_t int8_rounds(int64_t rounds) {
  const Words b = {57, 57, 57, 57}, a = b + 36;
  return multiply_rounds<Words>(rounds, 4, [=](Words sum) { return sum * b + a; });
}

}  // namespace kvant::scalar_multiply
