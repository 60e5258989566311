#pragma once
#include <cstddef>

#include "plan/step.h"

namespace kvant {

// Consecutive swaps of a step that are one block of memory on both sides.
struct PageSwapRun {
  int32_t group = 0;
  int64_t device_page = 0, host_page = 0;  // the first of `count`
  int64_t count = 0;
  SwapDirection direction = SwapDirection::out;
};

// Calls move(run) for the swaps of a step in order, neighbours joined: pages of a sequence are often neighbours on both sides,
// and each copy over the bus costs microseconds to start.
template <typename Move>
void for_each_swap_run(const std::vector<int32_t>& swaps, Move&& move) {
  for (size_t i = 0; i < swaps.size();) {
    PageSwapRun run{swaps[i], swaps[i + 1], swaps[i + 2], 0, static_cast<SwapDirection>(swaps[i + 3])};
    const auto continues = [&] {
      return i < swaps.size() && swaps[i] == run.group && swaps[i + 1] == run.device_page + run.count &&
             swaps[i + 2] == run.host_page + run.count && static_cast<SwapDirection>(swaps[i + 3]) == run.direction;
    };
    for (; continues(); i += 4) run.count++;
    move(run);
  }
}

}  // namespace kvant
