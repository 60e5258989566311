#include "kvant/tier.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>

#if KVANT_ARCH_X86
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif
#if KVANT_ARCH_ARM64 && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace kvant {
namespace {

#if KVANT_ARCH_X86

// The part of the register state that the operating system saves and restores on a context switch.
uint64_t saved_state() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

// Matrix registers are 8 KiB of state that Linux saves for processes that have asked for it, before their first use
// (Documentation/arch/x86/xstate.rst). Asking twice is allowed.
bool ask_for_matrix_registers() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// Bit numbers from the Intel SDM, volume 2A, CPUID, and volume 1, chapter 13 (XCR0).
void add_native_tiers(std::vector<Tier>& tiers) {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return;
  const auto bit = [](uint32_t word, int index) { return ((word >> index) & 1u) != 0; };
  const bool fma = bit(ecx, 12), osxsave = bit(ecx, 27), avx = bit(ecx, 28), f16c = bit(ecx, 29);
  if (!osxsave || !avx || !fma || !f16c) return;
  const uint64_t state = saved_state();
  constexpr uint64_t kYmmState = 0x6, kZmmState = 0xe6;  // XMM|YMM; and opmask|ZMM high|ZMM16-31
  constexpr uint64_t kTileState = 0x60000;               // TILECFG|TILEDATA
  if ((state & kYmmState) != kYmmState) return;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return;
  if (!bit(ebx, 5)) return;  // AVX2
  const bool avx512 = bit(ebx, 16) && bit(ebx, 17) && bit(ebx, 30) && bit(ebx, 31);  // F, DQ, BW, VL
  const bool vnni = bit(ecx, 11);
  if (avx512 && vnni && (state & kZmmState) == kZmmState) {
    const bool amx = bit(edx, 24) && bit(edx, 25);  // AMX-TILE, AMX-INT8
    if (amx && (state & kTileState) == kTileState && ask_for_matrix_registers()) tiers.push_back(Tier::amx);
    tiers.push_back(Tier::avx512vnni);
  }
  // Leaf 7, subleaf 1: AVX-VNNI, vpdpbusd without AVX-512.
  if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && bit(eax, 4)) tiers.push_back(Tier::avxvnni);
  tiers.push_back(Tier::avx2);
}

#elif KVANT_ARCH_ARM64

void add_native_tiers(std::vector<Tier>& tiers) {
#if defined(__linux__)
  constexpr unsigned long kHalfPrecision = 1ul << 10, kDotProduct = 1ul << 20;  // HWCAP_ASIMDHP, HWCAP_ASIMDDP
  const unsigned long have = getauxval(AT_HWCAP);
  if ((have & kHalfPrecision) == 0 || (have & kDotProduct) == 0) return;
#endif
  // Every Apple core with macOS on it has both.
  tiers.push_back(Tier::neon);
}

#else

void add_native_tiers(std::vector<Tier>&) {}

#endif

}  // namespace

const char* tier_name(Tier tier) {
  switch (tier) {
    case Tier::scalar: return "scalar";
    case Tier::avx2: return "avx2";
    case Tier::avxvnni: return "avxvnni";
    case Tier::avx512vnni: return "avx512vnni";
    case Tier::amx: return "amx";
    case Tier::neon: return "neon";
  }
  return "";
}

std::vector<Tier> present_tiers() {
  std::vector<Tier> tiers;
  add_native_tiers(tiers);
  tiers.push_back(Tier::scalar);
  return tiers;
}

Tier choose_tier(const std::string& name) {
  const std::vector<Tier> tiers = present_tiers();
  std::string wanted = name;
  const char* origin = "tier";
  if (wanted.empty()) {
    const char* forced = std::getenv("KVANT_CPU_TIER");
    if (forced == nullptr || *forced == '\0') return tiers.front();
    wanted = forced;
    origin = "KVANT_CPU_TIER";
  }
  const auto found = std::find_if(tiers.begin(), tiers.end(), [&](Tier tier) { return wanted == tier_name(tier); });
  if (found != tiers.end()) return *found;
  std::string present;
  for (Tier tier : tiers) present += std::string(present.empty() ? "" : ", ") + tier_name(tier);
  throw std::runtime_error(std::string(origin) + " \"" + wanted + "\" is not present here; present: " + present);
}

}  // namespace kvant
