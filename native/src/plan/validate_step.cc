#include <cmath>
#include <unordered_set>

#include "plan/check_value.h"
#include "plan/step.h"

namespace kvant {
namespace {

void check_ids(const char* what, const std::vector<int32_t>& ids, int64_t vocab) {
  for (int32_t id : ids) check_range(std::string("a ") + what + " id", id, 0, vocab - 1);
}

void check_number(const char* what, double value, bool holds, const char* rule) {
  if (!holds || !std::isfinite(value)) throw invalid(std::string(what) + " is " + std::to_string(value) + ", must be " + rule);
}

void check_sampling(const Sampling& sampling, int64_t vocab) {
  check_number("temperature", sampling.temperature, sampling.temperature >= 0, "a number of at least 0");
  check_number("topP", sampling.top_p, sampling.top_p > 0 && sampling.top_p <= 1, "above 0 and at most 1");
  check_number("minP", sampling.min_p, sampling.min_p >= 0 && sampling.min_p <= 1, "0 to 1");
  check_number("repetition", sampling.repetition, sampling.repetition > 0, "a number above 0");
  check_number("frequency", sampling.frequency, true, "finite");
  check_number("presence", sampling.presence, true, "finite");
  check_range("topK", sampling.top_k, 0, INT32_MAX);
  check_range("minTokens", sampling.min_tokens, 0, INT32_MAX);
  check_range("topLogprobs", sampling.top_logprobs, -1, kMaxTopLogprobs);
  check_equal("biases.length", static_cast<int64_t>(sampling.biases.size()), static_cast<int64_t>(sampling.bias_ids.size()));
  for (float bias : sampling.biases) check_number("a logit bias", bias, true, "finite");
  check_ids("logit bias", sampling.bias_ids, vocab);
  check_ids("suppressed", sampling.suppressed_ids, vocab);
}

void check_updates(const StepInputs& inputs, const Plan& plan, const PlanLimits& limits) {
  std::unordered_set<int32_t> seen;
  for (const RowUpdate& update : inputs.row_updates) {
    check_range("the row slot of an update", update.slot, 0, limits.max_rows - 1);
    if (!seen.insert(update.slot).second) throw invalid("row slot " + std::to_string(update.slot) + " is updated twice");
    check_sampling(update.sampling, plan.vocab_size);
    check_ids("prompt", update.history.prompt_ids, plan.vocab_size);
    check_ids("output", update.history.output_ids, plan.vocab_size);
  }
}

const KvGroupSpec& group_of(const Plan& plan, int32_t group) {
  check_range("a KV group", group, 0, static_cast<int64_t>(plan.kv_groups.size()) - 1);
  return plan.kv_groups[static_cast<size_t>(group)];
}

void check_pages(const StepInputs& inputs, const Plan& plan, const PlanLimits& limits) {
  const auto& appends = inputs.page_appends;
  check_equal("pageAppends.length modulo 4", static_cast<int64_t>(appends.size() % 4), 0);
  for (size_t i = 0; i < appends.size(); i += 4) {
    check_range("the row slot of a page append", appends[i], 0, limits.max_rows - 1);
    const KvGroupSpec& group = group_of(plan, appends[i + 1]);
    check_range("a page table index", appends[i + 2], 0, (plan.context_length + group.page_tokens - 1) / group.page_tokens - 1);
    check_range("the page of a page append", appends[i + 3], 0, group.page_count - 1);
  }
  const auto& swaps = inputs.page_swaps;
  check_equal("pageSwaps.length modulo 4", static_cast<int64_t>(swaps.size() % 4), 0);
  for (size_t i = 0; i < swaps.size(); i += 4) {
    const KvGroupSpec& group = group_of(plan, swaps[i]);
    check_range("the device page of a page swap", swaps[i + 1], 1, group.page_count - 1);
    if (group.host_page_count == 0) {
      throw invalid("a page swap in KV group " + std::to_string(swaps[i]) + ", which has no host pages");
    }
    check_range("the host page of a page swap", swaps[i + 2], 0, group.host_page_count - 1);
    check_range("the direction of a page swap", swaps[i + 3], 0, static_cast<int64_t>(SwapDirection::in));
  }
  const auto& copies = inputs.page_copies;
  check_equal("pageCopies.length modulo 3", static_cast<int64_t>(copies.size() % 3), 0);
  for (size_t i = 0; i < copies.size(); i += 3) {
    const int64_t last = group_of(plan, copies[i]).page_count - 1;
    check_range("the source of a page copy", copies[i + 1], 1, last);
    check_range("the target of a page copy", copies[i + 2], 1, last);
  }
}

// Returns the logit rows that the row asks for.
int64_t check_row(const StepInputs& inputs, int64_t row, const Plan& plan) {
  const auto at = static_cast<size_t>(row);
  const std::string name = "row " + std::to_string(row);
  const int64_t begin = inputs.row_starts[at], end = inputs.row_starts[at + 1], position = inputs.row_positions[at];
  check_range(name + ": its token count", end - begin, 1, inputs.tokens());
  check_range(name + ": its position", position, 0, plan.context_length - (end - begin));
  check_range(name + ": its want", inputs.row_wants[at], 0, static_cast<int64_t>(RowWant::score));
  const RowWant want = inputs.want(row);
  if (want != RowWant::nothing && plan.logits == kAbsent) throw invalid(name + " wants logits, which this plan does not make");
  if (want == RowWant::score) {
    check_range("targets.length", static_cast<int64_t>(inputs.targets.size()), end, INT32_MAX);
    for (int64_t token = begin; token < end; token++) {
      check_range("a target id", inputs.targets[static_cast<size_t>(token)], 0, plan.vocab_size - 1);
    }
  }
  if (want == RowWant::nothing) return 0;
  return want == RowWant::sample ? 1 : end - begin;
}

}  // namespace

void validate_step(const StepInputs& inputs, const Plan& plan, const PlanLimits& limits) {
  const int64_t rows = inputs.rows();
  check_range("rowSlots.length", rows, 0, limits.max_rows);
  check_range("tokenIds.length", inputs.tokens(), 0, limits.max_tokens);
  check_equal("rowStarts.length", static_cast<int64_t>(inputs.row_starts.size()), rows + 1);
  check_equal("rowPositions.length", static_cast<int64_t>(inputs.row_positions.size()), rows);
  check_equal("rowWants.length", static_cast<int64_t>(inputs.row_wants.size()), rows);
  check_equal("the first row start", inputs.row_starts.front(), 0);
  check_equal("the last row start", inputs.row_starts.back(), inputs.tokens());
  for (int32_t id : inputs.token_ids) check_range("a token id", id, kFromPreviousStep, plan.vocab_size - 1);
  check_updates(inputs, plan, limits);
  check_pages(inputs, plan, limits);

  std::unordered_set<int32_t> seen;
  int64_t logit_rows = 0;
  for (int64_t row = 0; row < rows; row++) {
    const int32_t slot = inputs.row_slots[static_cast<size_t>(row)];
    check_range("a row slot", slot, 0, limits.max_rows - 1);
    if (!seen.insert(slot).second) throw invalid("row slot " + std::to_string(slot) + " appears twice in a step");
    logit_rows += check_row(inputs, row, plan);
  }
  check_range("the number of logit rows", logit_rows, 0, limits.max_logit_rows);
}

}  // namespace kvant
