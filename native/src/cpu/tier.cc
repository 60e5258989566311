#include "kvant/tier.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
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

// What KVANT_CPU_TIER names; empty where it names none.
std::string forced_tier() {
  const char* const forced = std::getenv("KVANT_CPU_TIER");
  return forced == nullptr ? "" : forced;
}

#if KVANT_ARCH_X86

// The part of the register state that the operating system saves and restores on a context switch.
uint64_t saved_state() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

// Tile registers are 8 KiB of state that Linux saves for processes that have asked for it, before their first use
// (Documentation/arch/x86/xstate.rst). Asking twice is allowed; it cannot be taken back, so a process whose tier is another
// does not ask. Returns why there are none; empty where they were granted.
std::string ask_for_tile_registers() {
  const std::string forced = forced_tier();
  if (!forced.empty() && forced != tier_name(Tier::amx)) return "KVANT_CPU_TIER names " + forced;
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0) return "";
  const std::string refused = "Linux refused the tile registers: ";
  // A signal saves them on the stack that its handler runs on.
  return refused + (errno == ENOSPC ? "the signal stack of a thread is too small for them" : std::strerror(errno));
#else
  return "this build asks for the tile registers on Linux alone";
#endif
}

// Bit numbers from the Intel SDM, volume 2A, CPUID, and volume 1, chapter 13 (XCR0).
void add_native_tiers(Tiers& tiers) {
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
    if (amx && (state & kTileState) == kTileState) {
      const std::string reason = ask_for_tile_registers();
      if (reason.empty()) tiers.present.push_back(Tier::amx);
      else tiers.refused.push_back({Tier::amx, reason});
    }
    tiers.present.push_back(Tier::avx512vnni);
  }
  // Leaf 7, subleaf 1: AVX-VNNI, vpdpbusd without AVX-512.
  if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && bit(eax, 4)) tiers.present.push_back(Tier::avxvnni);
  tiers.present.push_back(Tier::avx2);
}

#elif KVANT_ARCH_ARM64

void add_native_tiers(Tiers& tiers) {
#if defined(__linux__)
  constexpr unsigned long kHalfPrecision = 1ul << 10, kDotProduct = 1ul << 20;  // HWCAP_ASIMDHP, HWCAP_ASIMDDP
  const unsigned long have = getauxval(AT_HWCAP);
  if ((have & kHalfPrecision) == 0 || (have & kDotProduct) == 0) return;
#endif
  // Every Apple core with macOS on it has both.
  tiers.present.push_back(Tier::neon);
}

#else

void add_native_tiers(Tiers&) {}

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

Tiers find_tiers() {
  Tiers tiers;
  add_native_tiers(tiers);
  tiers.present.push_back(Tier::scalar);
  return tiers;
}

std::vector<Tier> present_tiers() { return find_tiers().present; }

Tier choose_tier(const std::string& name) {
  const Tiers tiers = find_tiers();
  std::string wanted = name;
  const char* origin = "tier";
  if (wanted.empty()) {
    wanted = forced_tier();
    if (wanted.empty()) return tiers.present.front();
    origin = "KVANT_CPU_TIER";
  }
  const auto is_wanted = [&](Tier tier) { return wanted == tier_name(tier); };
  const auto found = std::find_if(tiers.present.begin(), tiers.present.end(), is_wanted);
  if (found != tiers.present.end()) return *found;
  std::string message = std::string(origin) + " \"" + wanted + "\" is not present here";
  for (const auto& [tier, reason] : tiers.refused) {
    if (is_wanted(tier)) message += ": " + reason;
  }
  const char* separator = "; present: ";
  for (Tier tier : tiers.present) {
    message += std::string(separator) + tier_name(tier);
    separator = ", ";
  }
  throw std::runtime_error(message);
}

}  // namespace kvant
