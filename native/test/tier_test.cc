#include "kvant/tier.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "check.h"

using namespace kvant;

int main() {
  unsetenv("KVANT_CPU_TIER");
  const auto tiers = present_tiers();
  CHECK(!tiers.empty());
  CHECK(tiers.back() == Tier::scalar);
  CHECK(choose_tier("") == tiers.front());
  for (Tier tier : tiers) CHECK(choose_tier(tier_name(tier)) == tier);

  setenv("KVANT_CPU_TIER", "scalar", 1);
  CHECK(choose_tier("") == Tier::scalar);

  setenv("KVANT_CPU_TIER", "mmx", 1);
  std::string message;
  try {
    choose_tier("");
  } catch (const std::runtime_error& error) {
    message = error.what();
  }
  CHECK(message.find("\"mmx\"") != std::string::npos);
  CHECK(message.find("scalar") != std::string::npos);
  return 0;
}
