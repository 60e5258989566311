// How a step's plan reaches the stream: as a graph where its sizes come again, else launch by launch.
#include <algorithm>
#include <string>

#include "cuda/check.h"
#include "cuda/cuda_executor.h"
#include "cuda/test_fault.h"

namespace kvant::cuda {
namespace {

// Up to this many rows a decode step is worth a graph; beyond it launches hide behind the work.
constexpr int64_t kMaxGraphRows = 256;

}  // namespace

StepRows CudaExecutor::rows_of(const StepInputs& inputs) {
  if (inputs.rows() == inputs.tokens()) return StepRows::single;
  for (size_t row = 0; row + 1 < inputs.row_starts.size(); row++) {
    if (inputs.row_starts[row + 1] - inputs.row_starts[row] < kLongRow) return StepRows::any;
  }
  return StepRows::chunks;
}

// Launching a step of prompts one by one takes the processor 4 ms, of 40 that it runs (2048 tokens of an 8B model on an H100).
// Prompts seldom have the same number of tokens twice, but under load they fill their steps.
std::optional<CudaExecutor::Launch> CudaExecutor::graph_of(const StepInputs& inputs) const {
  int64_t sampled = 0;
  for (int64_t row = 0; row < inputs.rows(); row++) {
    const RowWant want = inputs.want(row);
    if (want == RowWant::sample) sampled++;
    else if (want != RowWant::nothing) return std::nullopt;
  }
  const StepRows rows = rows_of(inputs);
  if (rows == StepRows::single && sampled > 0 && sampled == inputs.rows() && sampled <= most_graph_rows()) return decode_graph_of(sampled);
  if (rows == StepRows::single || inputs.tokens() != limits_.max_tokens) return std::nullopt;
  return full_graph_of(sampled, rows);
}

// 1, 2, 4, then multiples of 8 rows: few graphs, and at most 7 rows of padding.
CudaExecutor::Launch CudaExecutor::decode_graph_of(int64_t rows) const {
  const int64_t bucket = rows <= 2 ? rows : rows <= 4 ? 4 : (rows + 7) / 8 * 8, padded = std::min(bucket, most_graph_rows());
  return {padded, padded, padded, StepRows::single};
}

// Of 0, 64, 256, 1024, ... rows that sample: padding costs the output head alone here.
CudaExecutor::Launch CudaExecutor::full_graph_of(int64_t sampled, StepRows rows) const {
  int64_t padded = sampled == 0 ? 0 : 64;
  while (padded < sampled) padded *= 4;
  padded = std::min(padded, most_sampled_rows());
  return {limits_.max_tokens, padded, padded, rows};
}

int64_t CudaExecutor::most_sampled_rows() const { return std::min({limits_.max_rows, limits_.max_tokens, limits_.max_logit_rows}); }

int64_t CudaExecutor::most_graph_rows() const { return std::min(kMaxGraphRows, most_sampled_rows()); }

// A stream holds a bounded number of launches, and a thread that brings more spins until there is room: in 7 of the 40 ms that a
// step of 2048 tokens takes. So it sleeps until the device is kPartsAhead parts of a step behind, which is work enough meanwhile.
void CudaExecutor::run_eagerly(const Launch& launch) {
  const size_t ops = plan_.ops.size();
  for (size_t part = 0; part < kParts; part++) {
    DeviceEvent& ended = part_ended_[parts_started_ % kPartsAhead];
    if (parts_started_ >= kPartsAhead) ended.wait("waiting for room in the stream");
    run_ops(ops * part / kParts, ops * (part + 1) / kParts, launch);
    if (part + 1 == kParts) sample(launch);
    ended.record(stream_.get());
    parts_started_++;
  }
}

// The first step of its sizes runs eagerly, which loads its kernels: that cannot happen while a graph is recorded.
void CudaExecutor::run_graph(const Launch& launch) {
  const auto known = graphs_.find(launch);
  if (known == graphs_.end()) {
    run_eagerly(launch);
    graphs_.try_emplace(launch);
    return;
  }
  std::optional<DeviceGraph>& graph = known->second;
  if (!graph) record(launch, graph);
  graph->launch(stream_.get());
}

void CudaExecutor::record(const Launch& launch, std::optional<DeviceGraph>& graph) {
  if (test_fault("alloc-capture")) throw Error("OUT_OF_MEMORY", "a test ordered that a graph finds no memory");
  graph.emplace(stream_.get(), [&] {
    run_ops(0, plan_.ops.size(), launch);
    sample(launch);
  });
}

// With padding in place of rows. A page append that changes nothing loads the kernel of appends.
void CudaExecutor::warm_up() {
  if (plan_.logits == kAbsent) return;  // a plan that samples nothing serves no streams
  stream_.enter();
  StepInputs nothing;
  nothing.row_starts = {0};
  if (!kv_groups_.empty()) nothing.page_appends = {0, 0, 0, 0};
  Bank& bank = banks_[next_bank_];
  const auto run = [&](const Launch& padded, const auto& body) {
    const Launch launch = pack(nothing, padded, bank);
    place_step(layout_, bank.packet.as<int32_t>(), arrays_, stream_.get());
    body(launch);
    deliver(results_.data(), bank.results.as<uint8_t>(), kRowResultsAt, stream_.get());
    check(cudaStreamSynchronize(stream_.get()), "warming up");
  };
  try {
    for (int64_t rows = 0; rows < most_graph_rows();) {
      const Launch decode = decode_graph_of(rows + 1);
      rows = decode.tokens;
      run(decode, [&](const Launch& launch) {
        run_graph(launch);
        run_graph(launch);
      });
    }
    for (int64_t sampled = 0; sampled <= most_sampled_rows();) {
      // Has all kernels that steps of chunks alone have.
      const Launch full = full_graph_of(sampled, StepRows::any);
      run(full, [&](const Launch& launch) { run_eagerly(launch); });
      for (StepRows rows : {StepRows::any, StepRows::chunks}) {
        const Launch launch = full_graph_of(sampled, rows);
        std::optional<DeviceGraph>& graph = graphs_[launch];
        if (!graph) record(launch, graph);
      }
      sampled = full.sampled_rows + 1;
    }
  } catch (...) {
    give_up();
    throw;
  }
}

}  // namespace kvant::cuda
