#pragma once
#include <cstdint>
#include <string>

#include "plan/error.h"

namespace kvant {

// Throws "<what> is <value>, must be <low> to <high>".
inline void check_range(const std::string& what, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return;
  throw invalid(what + " is " + std::to_string(value) + ", must be " + std::to_string(low) + " to " + std::to_string(high));
}

// Throws "<what> is <value>, must be <wanted>".
inline void check_equal(const std::string& what, int64_t value, int64_t wanted) {
  if (value == wanted) return;
  throw invalid(what + " is " + std::to_string(value) + ", must be " + std::to_string(wanted));
}

}  // namespace kvant
