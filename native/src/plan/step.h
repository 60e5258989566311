#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "kvant/sampler.h"
#include "plan/plan.h"

namespace kvant {

// Stands for the token that was sampled last for the row slot.
constexpr int32_t kFromPreviousStep = -1;

// Values of StepInputs::row_wants.
enum class RowWant : uint8_t { nothing = 0, sample = 1, logits = 2, score = 3 };

// The last number of a page swap.
enum class SwapDirection : int32_t { out = 0, in = 1 };

// Resets a row slot: its tables become empty, its history is the one given.
struct RowUpdate {
  int32_t slot = 0;
  Sampling sampling;
  RowHistory history;
};

// One step; meaning and order as packages/kernels/src/step.ts `StepInputs`.
struct StepInputs {
  std::vector<int32_t> row_slots;      // [rows]
  std::vector<int32_t> row_starts;     // [rows + 1]
  std::vector<int32_t> row_positions;  // [rows]
  std::vector<uint8_t> row_wants;      // [rows]
  std::vector<int32_t> token_ids;      // [tokens]
  std::vector<int32_t> targets;        // [tokens], or empty when no row wants scores
  std::vector<int32_t> page_appends;   // [appends, 4] row slot, group, index, page
  std::vector<int32_t> page_swaps;     // [swaps, 4] group, device page, host page, SwapDirection
  std::vector<int32_t> page_copies;    // [copies, 3] group, from, to
  std::vector<RowUpdate> row_updates;

  int64_t rows() const { return static_cast<int64_t>(row_slots.size()); }
  int64_t tokens() const { return static_cast<int64_t>(token_ids.size()); }
  RowWant want(int64_t row) const { return static_cast<RowWant>(row_wants[static_cast<size_t>(row)]); }
};

// Uninitialized floats whose ownership can be handed on.
struct FloatArray {
  std::unique_ptr<float[]> values;
  size_t count = 0;

  void allocate(size_t size) {
    values = std::make_unique_for_overwrite<float[]>(size);
    count = size;
  }
};

struct StepOutputs {
  std::vector<int32_t> sampled_ids;     // [rows], -1 where not sampled
  std::vector<float> sampled_logprobs;  // [rows], NaN where not asked
  std::vector<int32_t> top_ids;         // [rows, kMaxTopLogprobs], -1 past the row's count
  std::vector<float> top_logprobs;      // [rows, kMaxTopLogprobs]
  FloatArray logits;                    // [tokens of the rows that want logits, vocab]
  FloatArray scores;                    // [tokens of the rows that want scores]
  double seconds = 0;
  std::optional<double> gap_seconds;  // from the end of the last step's kernels to the first of this one, where that is known
  int64_t saturations = 0;
};

// Checks what a step alone can tell: counts, slots, positions, ids, page numbers, sampling parameters. Throws Error
// INVALID_ARGUMENT naming value and limit. What depends on earlier steps (are the pages of every position there, is there a
// token to repeat) the executor checks when the step's turn comes.
void validate_step(const StepInputs& inputs, const Plan& plan, const PlanLimits& limits);

}  // namespace kvant
