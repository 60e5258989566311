#include "kvant/tier.h"

#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

#if KVANT_ARCH_X86 && defined(__linux__)
#include <csignal>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "check.h"

using namespace kvant;

namespace {

std::string refusal_of(const std::string& tier) {
  try {
    choose_tier(tier);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

#if KVANT_ARCH_X86 && defined(__linux__)

bool may_use_tile_registers() {
  uint64_t permitted = 0;
  constexpr long kGetPermission = 0x1022;  // ARCH_GET_XCOMP_PERM
  return syscall(SYS_arch_prctl, kGetPermission, &permitted) == 0 && ((permitted >> 18) & 1) != 0;
}

// Comes before anything that asks for them: what was granted cannot be taken back.
void a_refusal_of_tile_registers_has_a_reason() {
  setenv("KVANT_CPU_TIER", "scalar", 1);
  const auto refused = find_tiers().refused;
  CHECK(!may_use_tile_registers());
  unsetenv("KVANT_CPU_TIER");
  if (refused.empty()) return;  // a processor without them
  CHECK(refused.size() == 1 && refused.front().tier == Tier::amx);
  CHECK(refused.front().reason == "KVANT_CPU_TIER names scalar");

  static char bytes[2048];
  stack_t before{}, small{};
  small.ss_sp = bytes;
  small.ss_size = sizeof bytes;
  if (sigaltstack(&small, &before) != 0) return;  // a strict kernel takes no stack that is too small for a signal
  CHECK(choose_tier("") != Tier::amx);
  CHECK(contains(refusal_of("amx"), "\"amx\" is not present here: Linux refused the tile registers: "));
  CHECK(sigaltstack(&before, nullptr) == 0);
  CHECK((choose_tier("") == Tier::amx) == may_use_tile_registers());
}

#endif

}  // namespace

int main() {
#if KVANT_ARCH_X86 && defined(__linux__)
  a_refusal_of_tile_registers_has_a_reason();
#endif
  unsetenv("KVANT_CPU_TIER");
  const auto tiers = present_tiers();
  CHECK(!tiers.empty());
  CHECK(tiers.back() == Tier::scalar);
  CHECK(choose_tier("") == tiers.front());
  for (Tier tier : tiers) CHECK(choose_tier(tier_name(tier)) == tier);

  setenv("KVANT_CPU_TIER", "scalar", 1);
  CHECK(choose_tier("") == Tier::scalar);

  setenv("KVANT_CPU_TIER", "mmx", 1);
  const std::string message = refusal_of("");
  CHECK(contains(message, "\"mmx\""));
  CHECK(contains(message, "scalar"));
  return 0;
}
