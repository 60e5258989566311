#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>

#include "cpu/executor.h"
#include "plan/error.h"
#include "plan/page_swaps.h"

namespace kvant {

void Executor::run(const StepInputs& inputs, StepOutputs& outputs, const std::function<void()>& aside) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const auto ended_before = std::exchange(ended_, std::nullopt);
  apply_updates(inputs);
  check_pages(inputs);
  swap_pages(inputs);
  copy_pages(inputs);
  place_tokens(inputs);
  assign_logit_rows(inputs);
  allocate_outputs(inputs, outputs);
  saturations_ = 0;

  const ThreadPoolStep awake(pool_, aside);
  outputs.gap_seconds.reset();
  if (ended_before) outputs.gap_seconds = std::chrono::duration<double>(Clock::now() - *ended_before).count();
  run_ops();
  sample_rows(inputs, outputs);
  copy_logits(outputs);
  score_tokens(inputs, outputs);
  outputs.saturations = saturations_;
  ended_ = Clock::now();
  outputs.seconds = std::chrono::duration<double>(*ended_ - start).count();
}

void Executor::apply_updates(const StepInputs& inputs) {
  for (const RowUpdate& update : inputs.row_updates) {
    Row& row = rows_[static_cast<size_t>(update.slot)];
    row.sampling = update.sampling;
    row.history = update.history;
    row.last_sampled = kFromPreviousStep;
    for (KvGroup& group : kv_groups_) group.tables.clear(update.slot);
  }
  const auto& appends = inputs.page_appends;
  for (size_t i = 0; i < appends.size(); i += 4) {
    kv_groups_[static_cast<size_t>(appends[i + 1])].tables.set(appends[i], appends[i + 2], appends[i + 3]);
  }
}

void Executor::check_pages(const StepInputs& inputs) {
  for (int64_t row = 0; row < inputs.rows(); row++) {
    const auto at = static_cast<size_t>(row);
    const int32_t slot = inputs.row_slots[at];
    const int64_t position = inputs.row_positions[at];
    const int64_t end = position + inputs.row_starts[at + 1] - inputs.row_starts[at];
    for (size_t group = 0; group < kv_groups_.size(); group++) {
      const int window = kv_groups_[group].view.window;
      const int64_t begin = window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
      if (kv_groups_[group].tables.covers(slot, begin, end)) continue;
      throw invalid("row slot " + std::to_string(slot) + " has no page for some position of " + std::to_string(begin) + " to " +
                    std::to_string(end - 1) + " in KV group " + std::to_string(group));
    }
    for (int32_t token = inputs.row_starts[at]; token < inputs.row_starts[at + 1]; token++) {
      if (inputs.token_ids[static_cast<size_t>(token)] != kFromPreviousStep) continue;
      if (rows_[static_cast<size_t>(slot)].last_sampled != kFromPreviousStep) continue;
      throw invalid("row slot " + std::to_string(slot) + " has sampled no token that could be repeated");
    }
  }
}

void Executor::swap_pages(const StepInputs& inputs) {
  for_each_swap_run(inputs.page_swaps, [&](const PageSwapRun& run) {
    const KvGroup& group = kv_groups_[static_cast<size_t>(run.group)];
    const int64_t page_bytes = group.view.page_bytes;
    uint8_t* const device = group.view.base + run.device_page * page_bytes;
    uint8_t* const host = group.host_pages.as<uint8_t>() + run.host_page * page_bytes;
    const bool is_out = run.direction == SwapDirection::out;
    std::memcpy(is_out ? host : device, is_out ? device : host, static_cast<size_t>(run.count * page_bytes));
  });
}

void Executor::copy_pages(const StepInputs& inputs) {
  const auto& copies = inputs.page_copies;
  for (size_t i = 0; i < copies.size(); i += 3) {
    const KvPages& pages = kv_groups_[static_cast<size_t>(copies[i])].view;
    std::memmove(pages.base + copies[i + 2] * pages.page_bytes, pages.base + copies[i + 1] * pages.page_bytes,
                 static_cast<size_t>(pages.page_bytes));
  }
}

void Executor::place_tokens(const StepInputs& inputs) {
  tiles_.clear();
  for (size_t row = 0; row < inputs.row_slots.size(); row++) {
    const int32_t slot = inputs.row_slots[row], first = inputs.row_starts[row], end = inputs.row_starts[row + 1];
    for (int32_t token = first; token < end; token++) {
      const auto at = static_cast<size_t>(token);
      const int32_t id = inputs.token_ids[at];
      ids_[at] = id == kFromPreviousStep ? rows_[static_cast<size_t>(slot)].last_sampled : id;
      positions_[at] = inputs.row_positions[row] + token - first;
      token_slots_[at] = slot;
    }
    for (int32_t token = first; token < end; token += kAttentionTileTokens) {
      tiles_.push_back({token, std::min(kAttentionTileTokens, end - token), slot});
    }
  }
  tokens_ = {inputs.tokens(), ids_.data(), positions_.data(), token_slots_.data()};
}

void Executor::assign_logit_rows(const StepInputs& inputs) {
  logit_tokens_.clear();
  for (auto* uses : {&sampled_, &kept_, &scored_}) uses->clear();
  for (int64_t row = 0; row < inputs.rows(); row++) {
    const RowWant want = inputs.want(row);
    if (want == RowWant::nothing) continue;
    const int32_t end = inputs.row_starts[static_cast<size_t>(row) + 1];
    const int32_t first = want == RowWant::sample ? end - 1 : inputs.row_starts[static_cast<size_t>(row)];
    for (int32_t token = first; token < end; token++) {
      const auto logit_row = static_cast<int64_t>(logit_tokens_.size());
      logit_tokens_.push_back(token);
      if (want == RowWant::sample) {
        sampled_.push_back({logit_row, token, row});
      } else {
        auto& uses = want == RowWant::logits ? kept_ : scored_;
        uses.push_back({logit_row, token, static_cast<int64_t>(uses.size())});
      }
    }
  }
}

void Executor::allocate_outputs(const StepInputs& inputs, StepOutputs& outputs) const {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const size_t rows = inputs.row_slots.size();
  outputs.sampled_ids.assign(rows, -1);
  outputs.sampled_logprobs.assign(rows, nan);
  outputs.top_ids.assign(rows * kMaxTopLogprobs, -1);
  outputs.top_logprobs.assign(rows * kMaxTopLogprobs, nan);
  outputs.logits.allocate(kept_.size() * static_cast<size_t>(plan_.vocab_size));
  outputs.scores.allocate(scored_.size());
}

void Executor::run_ops() {
  for (const Op& op : plan_.ops) {
    std::visit([this](const auto& typed) { run_op(typed); }, op);
  }
}

const float* Executor::logits_of(const LogitUse& use) const { return buffer(plan_.logits) + use.logit_row * plan_.vocab_size; }

void Executor::sample_rows(const StepInputs& inputs, StepOutputs& outputs) {
  const auto body = [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; i++) {
      const LogitUse& use = sampled_[static_cast<size_t>(i)];
      const auto output = static_cast<size_t>(use.output);
      const Row& row = rows_[static_cast<size_t>(inputs.row_slots[output])];
      SamplerScratch& scratch = sampler_scratch_[static_cast<size_t>(thread)];
      const Sampled drawn = sample(logits_of(use), plan_.vocab_size, row.sampling, row.history, scratch);
      outputs.sampled_ids[output] = drawn.id;
      outputs.sampled_logprobs[output] = drawn.logprob;
      for (int rank = 0; rank < drawn.top_count; rank++) {
        outputs.top_ids[output * kMaxTopLogprobs + static_cast<size_t>(rank)] = drawn.top[rank].id;
        outputs.top_logprobs[output * kMaxTopLogprobs + static_cast<size_t>(rank)] = drawn.top[rank].logprob;
      }
    }
  };
  pool_.parallel_for(static_cast<int64_t>(sampled_.size()), 1, std::ref(body));
  for (const LogitUse& use : sampled_) {
    const auto output = static_cast<size_t>(use.output);
    Row& row = rows_[static_cast<size_t>(inputs.row_slots[output])];
    row.history.output_ids.push_back(outputs.sampled_ids[output]);
    row.last_sampled = outputs.sampled_ids[output];
  }
}

void Executor::copy_logits(StepOutputs& outputs) {
  const int64_t vocab = plan_.vocab_size;
  const auto body = [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const LogitUse& use = kept_[static_cast<size_t>(i)];
      std::copy_n(logits_of(use), vocab, outputs.logits.values.get() + use.output * vocab);
    }
  };
  pool_.parallel_for(static_cast<int64_t>(kept_.size()), 8, std::ref(body));
}

void Executor::score_tokens(const StepInputs& inputs, StepOutputs& outputs) {
  const auto body = [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const LogitUse& use = scored_[static_cast<size_t>(i)];
      const int32_t target = inputs.targets[static_cast<size_t>(use.token)];
      outputs.scores.values[static_cast<size_t>(use.output)] = log_probability(logits_of(use), plan_.vocab_size, target);
    }
  };
  pool_.parallel_for(static_cast<int64_t>(scored_.size()), 1, std::ref(body));
}

}  // namespace kvant
