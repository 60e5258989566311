// How a step's plan reaches the stream: as a graph where every row brings one token and samples, else launch by launch.
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

bool CudaExecutor::is_decode(const StepInputs& inputs) const {
  if (inputs.rows() == 0 || inputs.rows() != inputs.tokens() || inputs.rows() > kMaxGraphRows) return false;
  if (inputs.rows() > limits_.max_logit_rows) return false;
  for (int64_t row = 0; row < inputs.rows(); row++) {
    if (inputs.want(row) != RowWant::sample) return false;
  }
  return true;
}

// 1, 2, 4, then multiples of 8: few graphs, and at most 7 rows of padding.
int64_t CudaExecutor::bucket_of(int64_t rows) const {
  const int64_t bucket = rows <= 2 ? rows : rows <= 4 ? 4 : (rows + 7) / 8 * 8;
  return std::min(bucket, most_graph_rows());
}

int64_t CudaExecutor::most_graph_rows() const {
  return std::min({kMaxGraphRows, limits_.max_rows, limits_.max_tokens, limits_.max_logit_rows});
}

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

// The first step of a bucket runs eagerly, which loads its kernels: that cannot happen while a graph is captured.
void CudaExecutor::run_graph(const Launch& launch) {
  const auto [entry, is_new] = graphs_.try_emplace(launch.tokens);
  if (is_new) {
    try {
      return run_eagerly(launch);
    } catch (...) {
      graphs_.erase(launch.tokens);
      throw;
    }
  }
  cudaGraphExec_t& executable = entry->second.graph;
  if (executable == nullptr) {
    if (test_fault("alloc-capture")) throw Error("OUT_OF_MEMORY", "a test ordered that a graph finds no memory");
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal), "beginning a graph");
    try {
      run_plan(launch);
    } catch (...) {
      cudaStreamEndCapture(stream_.get(), &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    check(cudaStreamEndCapture(stream_.get(), &graph), "ending a graph");
    const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "making a graph for " + std::to_string(launch.tokens) + " rows");
  }
  check(cudaGraphLaunch(executable, stream_.get()), "launching a graph");
}

// With padding in place of rows. A page append that changes nothing loads the kernel of appends.
void CudaExecutor::warm_up() {
  if (plan_.logits == kAbsent) return;  // a plan that samples nothing serves no streams
  stream_.enter();
  StepInputs nothing;
  nothing.row_starts = {0};
  if (!kv_groups_.empty()) nothing.page_appends = {0, 0, 0, 0};
  Bank& bank = banks_[next_bank_];
  const auto run = [&](int64_t tokens, const auto& body) {
    Launch launch = pack(nothing, tokens, bank);
    place_step(layout_, bank.packet.as<int32_t>(), arrays_, stream_.get());
    body(launch);
    deliver(results_.data(), bank.results.as<uint8_t>(), kRowResultsAt, stream_.get());
    check(cudaStreamSynchronize(stream_.get()), "warming up");
  };
  try {
    for (int64_t bucket = 0; bucket < most_graph_rows();) {
      bucket = bucket_of(bucket + 1);
      run(bucket, [&](const Launch& launch) {
        run_graph(launch);
        run_graph(launch);
      });
    }
    run(limits_.max_tokens, [&](Launch& launch) {
      launch.rows = StepRows::chunks;
      run_eagerly(launch);
    });
  } catch (...) {
    give_up();
    throw;
  }
}

}  // namespace kvant::cuda
