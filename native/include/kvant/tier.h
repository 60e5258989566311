#pragma once
#include <string>
#include <vector>

namespace kvant {

// Instruction sets with kernels of their own. A tier's code sits in files named *_<tier>.cc, compiled with that tier's flags
// and called only after CPUID and XGETBV say that both the processor and the operating system carry it.
enum class Tier { scalar, avx2, avxvnni, avx512vnni, amx, neon };

const char* tier_name(Tier tier);
// A tier that this build holds and the processor carries but this process may not use, and why.
struct RefusedTier {
  Tier tier;
  std::string reason;
};

struct Tiers {
  std::vector<Tier> present;  // that this build holds and this machine can run, best first; `scalar` is always last
  std::vector<RefusedTier> refused;
};

// Asks Linux for the tile registers of `amx`, unless KVANT_CPU_TIER names another tier.
Tiers find_tiers();
std::vector<Tier> present_tiers();
// The best present tier, or the one named (empty name: KVANT_CPU_TIER, then the best). Throws std::runtime_error naming
// the tiers present when the named one is not, and why where it was refused.
Tier choose_tier(const std::string& name);

}  // namespace kvant
