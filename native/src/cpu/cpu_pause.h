#pragma once

namespace kvant {

// Tells the core that this is a spin loop.
inline void cpu_pause() {
#if KVANT_ARCH_X86
  __builtin_ia32_pause();
#elif KVANT_ARCH_ARM64
  __asm__ volatile("yield");
#endif
}

}  // namespace kvant
