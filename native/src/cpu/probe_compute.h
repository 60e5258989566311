#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kvant/tier.h"

namespace kvant {

// Peak of a tier's multipliers in operations per second (a multiply-add is two), one figure per repeat: all threads together,
// operands in registers. `kind` is "float32" (fused multiply-add) or "int8" (the tier's dot product of 8-bit integers).
// Throws Error for other kinds and for counts out of range.
std::vector<double> probe_compute(const std::string& kind, Tier tier, int64_t threads, int64_t repeats);

}  // namespace kvant
