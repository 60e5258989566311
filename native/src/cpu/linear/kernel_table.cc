#include "kernel_table.h"

#include <stdexcept>
#include <string>

namespace kvant::linear {

// The one place that knows which tiers a build for an architecture holds.
const LinearKernels& linear_kernels(Tier tier) {
  switch (tier) {
    case Tier::scalar: return kernels_scalar;
#if KVANT_ARCH_X86
    case Tier::avx2: return kernels_avx2;
    case Tier::avxvnni: return kernels_avxvnni;
    case Tier::avx512vnni: return kernels_avx512vnni;
    case Tier::amx: {
      static const LinearKernels kernels = amx_kernels();
      return kernels;
    }
#elif KVANT_ARCH_ARM64
    case Tier::neon: return kernels_neon;
#endif
    default: throw std::invalid_argument(std::string("linear: this build holds no kernels of tier ") + tier_name(tier));
  }
}

}  // namespace kvant::linear
