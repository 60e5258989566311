#pragma once
#include <array>
#include <cstdint>

namespace kvant {

// The counter-based generator Philox4x32 with ten rounds: four random words of a counter under a key.
std::array<uint32_t, 4> philox4x32_10(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

}  // namespace kvant
