#include <algorithm>
#include <cstring>
#include <limits>

#include "cuda/check.h"
#include "cuda/cuda_executor.h"
#include "cuda/test_fault.h"

namespace kvant::cuda {
namespace {

template <typename T>
void replace_list(DeviceMemory& memory, const std::vector<T>& values, const char* purpose, Stream stream) {
  const size_t bytes = values.size() * sizeof(T);
  if (memory.bytes() < bytes) memory = DeviceMemory(bytes, purpose);
  if (bytes > 0) check(cudaMemcpyAsync(memory.data(), values.data(), bytes, cudaMemcpyHostToDevice, stream), purpose);
}

}  // namespace

void CudaExecutor::run(const StepInputs& inputs, StepOutputs& outputs, const std::function<void()>& aside) {
  start(inputs, outputs);
  if (aside) aside();
  finish(outputs);
}

void CudaExecutor::start(const StepInputs& inputs, StepOutputs& outputs) {
  stream_.enter();
  free_banks_.acquire();
  try {
    queue(inputs, outputs, banks_[next_bank_]);
  } catch (...) {
    give_up();
    free_banks_.release();
    throw;
  }
  const std::lock_guard lock(started_mutex_);
  started_.push_back({&banks_[next_bank_], inputs.row_slots.size(), sampled_outputs_});
  next_bank_ = (next_bank_ + 1) % kMostStarted;
}

// What has been queued may still read a bank.
void CudaExecutor::give_up() {
  cudaStreamSynchronize(stream_.get());
  cudaGetLastError();
}

void CudaExecutor::queue(const StepInputs& inputs, StepOutputs& outputs, Bank& bank) {
  if (test_fault("alloc-step")) throw Error("OUT_OF_MEMORY", "a test ordered that a step finds no memory");
  apply_updates(inputs);
  check_pages(inputs);
  const std::optional<Launch> graph = graph_of(inputs);
  const Launch launch = pack(inputs, graph ? *graph : Launch{.tokens = inputs.tokens(), .rows = rows_of(inputs)}, bank);
  bank.started.record(stream_.get());
  place_step(layout_, bank.packet.as<int32_t>(), arrays_, stream_.get());
  swap_pages(inputs);
  copy_pages(inputs);
  if (test_fault("sticky")) write_nowhere(stream_.get());
  if (launch.tokens > 0) {
    if (graph) {
      run_graph(launch);
    } else {
      run_eagerly(launch);
    }
  }
  download(outputs, bank);
  bank.ended.record(stream_.get());
  for (int64_t row : sampled_outputs_) has_sampled_[static_cast<size_t>(inputs.row_slots[static_cast<size_t>(row)])] = true;
}

CudaExecutor::StartedStep CudaExecutor::take_oldest() {
  const std::lock_guard lock(started_mutex_);
  StartedStep step = std::move(started_.front());
  started_.pop_front();
  return step;
}

void CudaExecutor::finish(StepOutputs& outputs) {
  const StartedStep step = take_oldest();
  // The bank is free again whatever happens.
  struct Release {
    std::counting_semaphore<kMostStarted>& banks;
    ~Release() { banks.release(); }
  } release{free_banks_};
  stream_.enter();
  step.bank->ended.wait("running a step");
  if (test_fault("download")) throw Error("NATIVE_FAILED", "a test ordered that a step's results are lost");
  outputs.seconds = step.bank->ended.seconds_since(step.bank->started);

  const float nan = std::numeric_limits<float>::quiet_NaN();
  outputs.sampled_ids.assign(step.rows, -1);
  outputs.sampled_logprobs.assign(step.rows, nan);
  outputs.top_ids.assign(step.rows * kMaxTopLogprobs, -1);
  outputs.top_logprobs.assign(step.rows * kMaxTopLogprobs, nan);
  outputs.saturations = static_cast<int64_t>(*step.bank->results.as<unsigned long long>());
  const auto* const results = reinterpret_cast<const RowResult*>(step.bank->results.as<uint8_t>() + kRowResultsAt);
  for (size_t i = 0; i < step.sampled.size(); i++) {
    const auto row = static_cast<size_t>(step.sampled[i]);
    const auto first_top = static_cast<std::ptrdiff_t>(row * kMaxTopLogprobs);
    outputs.sampled_ids[row] = results[i].id;
    outputs.sampled_logprobs[row] = results[i].logprob;
    std::copy_n(results[i].top_ids, kMaxTopLogprobs, outputs.top_ids.begin() + first_top);
    std::copy_n(results[i].top_logprobs, kMaxTopLogprobs, outputs.top_logprobs.begin() + first_top);
  }
}

void CudaExecutor::apply_updates(const StepInputs& inputs) {
  for (const RowUpdate& update : inputs.row_updates) apply_update(update);
  const auto& appends = inputs.page_appends;
  for (size_t i = 0; i < appends.size(); i += 4) {
    kv_groups_[static_cast<size_t>(appends[i + 1])].host_tables.set(appends[i], appends[i + 2], appends[i + 3]);
  }
}

void CudaExecutor::apply_update(const RowUpdate& update) {
  const Stream stream = stream_.get();
  const auto slot = static_cast<size_t>(update.slot);
  for (KvGroup& group : kv_groups_) {
    group.host_tables.clear(update.slot);
    const size_t bytes = static_cast<size_t>(group.view.table_stride) * sizeof(int32_t);
    check(cudaMemsetAsync(group.tables.as<uint8_t>() + slot * bytes, 0, bytes, stream), "clearing a page table");
  }
  has_sampled_[slot] = false;
  if (plan_.logits == kAbsent) return;

  const auto vocab = static_cast<size_t>(plan_.vocab_size);
  check(cudaMemsetAsync(states_.in_prompt + slot * vocab, 0, vocab, stream), "clearing a row");
  check(cudaMemsetAsync(states_.output_counts + slot * vocab, 0, vocab * sizeof(int32_t), stream), "clearing a row");
  SlotLists& lists = slot_lists_[slot];
  const Sampling& from = update.sampling;
  replace_list(lists.bias_ids, from.bias_ids, "logit bias ids", stream);
  replace_list(lists.biases, from.biases, "logit biases", stream);
  replace_list(lists.suppressed_ids, from.suppressed_ids, "suppressed ids", stream);
  const DeviceSampling sampling{.temperature = from.temperature,
                                .top_p = from.top_p,
                                .min_p = from.min_p,
                                .repetition = from.repetition,
                                .frequency = from.frequency,
                                .presence = from.presence,
                                .top_k = from.top_k,
                                .min_tokens = from.min_tokens,
                                .top_logprobs = from.top_logprobs,
                                .seed = {from.seed[0], from.seed[1]},
                                .bias_count = static_cast<int>(from.bias_ids.size()),
                                .suppressed_count = static_cast<int>(from.suppressed_ids.size()),
                                .bias_ids = lists.bias_ids.as<int32_t>(),
                                .biases = lists.biases.as<float>(),
                                .suppressed_ids = lists.suppressed_ids.as<int32_t>()};
  // Pageable memory is copied before the call returns, so locals may go.
  check(cudaMemcpyAsync(states_.samplings + slot, &sampling, sizeof sampling, cudaMemcpyHostToDevice, stream), "sampling parameters");
  const auto length = static_cast<int32_t>(update.history.output_ids.size());
  check(cudaMemcpyAsync(states_.output_lengths + slot, &length, sizeof length, cudaMemcpyHostToDevice, stream), "an output length");

  const std::vector<int32_t>&prompt = update.history.prompt_ids, &output = update.history.output_ids;
  if (prompt.empty() && output.empty()) return;
  std::vector<int32_t> ids = prompt;
  ids.insert(ids.end(), output.begin(), output.end());
  const auto* const on_device = static_cast<const int32_t*>(
      staging_.upload(reinterpret_cast<const uint8_t*>(ids.data()), ids.size() * sizeof(int32_t), stream));
  add_history(states_, update.slot, plan_.vocab_size, on_device, static_cast<int64_t>(prompt.size()), on_device + prompt.size(),
              static_cast<int64_t>(output.size()), stream);
}

void CudaExecutor::check_pages(const StepInputs& inputs) {
  for (int64_t row = 0; row < inputs.rows(); row++) {
    const auto at = static_cast<size_t>(row);
    const int32_t slot = inputs.row_slots[at];
    const int64_t position = inputs.row_positions[at];
    const int64_t end = position + inputs.row_starts[at + 1] - inputs.row_starts[at];
    for (size_t group = 0; group < kv_groups_.size(); group++) {
      const int window = kv_groups_[group].view.window;
      const int64_t begin = window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
      if (kv_groups_[group].host_tables.covers(slot, begin, end)) continue;
      throw invalid("row slot " + std::to_string(slot) + " has no page for some position of " + std::to_string(begin) + " to " +
                    std::to_string(end - 1) + " in KV group " + std::to_string(group));
    }
    for (int32_t token = inputs.row_starts[at]; token < inputs.row_starts[at + 1]; token++) {
      if (inputs.token_ids[static_cast<size_t>(token)] != kFromPreviousStep || has_sampled_[static_cast<size_t>(slot)]) continue;
      throw invalid("row slot " + std::to_string(slot) + " has sampled no token that could be repeated");
    }
  }
}

void CudaExecutor::swap_pages(const StepInputs& inputs) {
  for_each_swap_run(inputs.page_swaps, [&](const PageSwapRun& run) {
    const KvGroup& group = kv_groups_[static_cast<size_t>(run.group)];
    group.host_pages.swap(run, group.view.base, stream_.get());
  });
}

void CudaExecutor::copy_pages(const StepInputs& inputs) {
  const auto& copies = inputs.page_copies;
  for (size_t i = 0; i < copies.size(); i += 3) {
    if (copies[i + 1] == copies[i + 2]) continue;
    const KvPages& pages = kv_groups_[static_cast<size_t>(copies[i])].view;
    check(cudaMemcpyAsync(pages.base + copies[i + 2] * pages.page_bytes, pages.base + copies[i + 1] * pages.page_bytes,
                          static_cast<size_t>(pages.page_bytes), cudaMemcpyDeviceToDevice, stream_.get()),
          "copying a page");
  }
}

// Writes the packet and lists what becomes of each logit row.
CudaExecutor::Launch CudaExecutor::pack(const StepInputs& inputs, const Launch& at_least, Bank& bank) {
  sampled_outputs_.clear();
  kept_.clear();
  scored_.clear();
  std::vector<int32_t> logit_tokens, sampled, targets;
  for (int64_t row = 0; row < inputs.rows(); row++) {
    const RowWant want = inputs.want(row);
    if (want == RowWant::nothing) continue;
    const auto at = static_cast<size_t>(row);
    const int32_t end = inputs.row_starts[at + 1], first = want == RowWant::sample ? end - 1 : inputs.row_starts[at];
    for (int32_t token = first; token < end; token++) {
      const auto logit_row = static_cast<int32_t>(logit_tokens.size());
      logit_tokens.push_back(token);
      if (want == RowWant::sample) {
        sampled.insert(sampled.end(), {logit_row, inputs.row_slots[at]});
        sampled_outputs_.push_back(row);
      } else if (want == RowWant::logits) {
        kept_.push_back(logit_row);
      } else {
        scored_.push_back(logit_row);
        targets.push_back(inputs.targets[static_cast<size_t>(token)]);
      }
    }
  }
  scored_.insert(scored_.end(), targets.begin(), targets.end());

  while (static_cast<int64_t>(logit_tokens.size()) < at_least.logit_rows) logit_tokens.push_back(-1);
  while (static_cast<int64_t>(sampled.size()) < 2 * at_least.sampled_rows) sampled.insert(sampled.end(), {0, -1});
  layout_ = {static_cast<int32_t>(at_least.tokens), static_cast<int32_t>(logit_tokens.size()), static_cast<int32_t>(sampled.size() / 2),
             static_cast<int32_t>(inputs.page_appends.size() / 4)};
  const size_t bytes = static_cast<size_t>(layout_.size()) * sizeof(int32_t);
  if (bank.packet.bytes() < bytes) bank.packet = PinnedMemory(2 * bytes, "step inputs");
  int32_t* const packet = bank.packet.as<int32_t>();
  for (size_t row = 0; row < inputs.row_slots.size(); row++) {
    for (int32_t token = inputs.row_starts[row]; token < inputs.row_starts[row + 1]; token++) {
      packet[layout_.ids() + token] = inputs.token_ids[static_cast<size_t>(token)];
      packet[layout_.positions() + token] = inputs.row_positions[row] + token - inputs.row_starts[row];
      packet[layout_.slots() + token] = inputs.row_slots[row];
    }
  }
  for (int64_t token = inputs.tokens(); token < at_least.tokens; token++) {
    packet[layout_.ids() + token] = 0;
    packet[layout_.positions() + token] = 0;
    packet[layout_.slots() + token] = -1;
  }
  std::copy(logit_tokens.begin(), logit_tokens.end(), packet + layout_.logit_tokens());
  std::copy(sampled.begin(), sampled.end(), packet + layout_.sampled());
  int32_t* append = packet + layout_.page_appends();
  for (size_t i = 0; i < inputs.page_appends.size(); i += 4, append += 4) {
    std::copy_n(inputs.page_appends.begin() + static_cast<std::ptrdiff_t>(i), 3, append);
    // What the entry is after all appends: the device enters them in no order.
    append[3] = kv_groups_[static_cast<size_t>(append[1])].host_tables.page(append[0], append[2]);
  }
  return {at_least.tokens, layout_.logit_rows, layout_.sampled_rows, at_least.rows};
}

void CudaExecutor::run_ops(size_t begin, size_t end, const Launch& launch) {
  for (size_t i = begin; i < end; i++) {
    std::visit([&](const auto& typed) { run_op(typed, i, launch); }, plan_.ops[i]);
  }
}

void CudaExecutor::sample(const Launch& launch) {
  if (launch.sampled_rows == 0) return;
  auto* const results = reinterpret_cast<RowResult*>(results_.as<uint8_t>() + kRowResultsAt);
  sample_rows(buffer(plan_.logits), plan_.vocab_size, arrays_.sampled, launch.sampled_rows, states_, sampler_scratch_.data(),
              results, stream_.get());
}

void CudaExecutor::download(StepOutputs& outputs, Bank& bank) {
  const size_t samples = sampled_outputs_.size();
  const auto vocab = static_cast<size_t>(plan_.vocab_size);
  const Stream stream = stream_.get();
  outputs.logits.allocate(kept_.size() * vocab);
  outputs.scores.allocate(scored_.size() / 2);
  for (size_t begin = 0; begin < kept_.size();) {  // runs of neighbouring rows in one copy
    size_t end = begin + 1;
    while (end < kept_.size() && kept_[end] == kept_[end - 1] + 1) end++;
    check(cudaMemcpyAsync(outputs.logits.values.get() + begin * vocab, buffer(plan_.logits) + kept_[begin] * plan_.vocab_size,
                          (end - begin) * vocab * sizeof(float), cudaMemcpyDeviceToHost, stream),
          "downloading logits");
    begin = end;
  }
  if (!scored_.empty()) {
    const size_t count = scored_.size() / 2;
    int32_t* const score_rows_at = score_rows_.as<int32_t>();
    check(cudaMemcpyAsync(score_rows_at, scored_.data(), scored_.size() * sizeof(int32_t), cudaMemcpyHostToDevice, stream),
          "uploading targets");
    score_rows(buffer(plan_.logits), plan_.vocab_size, score_rows_at, score_rows_at + count, static_cast<int64_t>(count),
               scores_.as<float>(), stream);
    check(cudaMemcpyAsync(outputs.scores.values.get(), scores_.data(), count * sizeof(float), cudaMemcpyDeviceToHost, stream),
          "downloading scores");
  }
  deliver(results_.data(), bank.results.as<uint8_t>(), kRowResultsAt + samples * sizeof(RowResult), stream);
}

}  // namespace kvant::cuda
