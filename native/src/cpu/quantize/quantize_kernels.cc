#include "cpu/quantize/quantize_kernels.h"

namespace kvant {

const QuantizeKernels& quantize_kernels(Tier tier) {
  switch (tier) {
#if KVANT_ARCH_X86
    // avxvnni and amx differ in products of 8-bit integers only.
    case Tier::avxvnni:
    case Tier::avx2: return quantize_kernels_avx2;
    case Tier::amx:
    case Tier::avx512vnni: return quantize_kernels_avx512vnni;
#elif KVANT_ARCH_ARM64
    case Tier::neon: return quantize_kernels_neon;
#endif
    default: return quantize_kernels_scalar;
  }
}

}  // namespace kvant
