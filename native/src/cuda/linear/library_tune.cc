// The library's first choice for int8 is often not its fastest kernel: on an H100, 28672 x 4096 weights times 256 tokens take
// 103 us with it and 64 us with another; a layer of llama3-8b gains a fifth to a quarter between 192 and 1024 tokens.
#include <algorithm>
#include <limits>

#include "../check.h"
#include "../device_memory.h"
#include "library_loader.h"
#include "library_session.h"
#include "plan/error.h"

namespace kvant::cuda::linear::library {
namespace {

constexpr int kTokenCounts[] = {32, 64, 128, 192, 256, 384, 512, 768, 1024};
constexpr int kCandidates = 8, kRuns = 3;
constexpr size_t kMostResultBytes = size_t{128} << 20;

// A stream with two events.
class Watch {
 public:
  Watch() {
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "linear: a stream to tune on");
    check(cudaEventCreate(&begin_), "linear: an event");
    check(cudaEventCreate(&end_), "linear: an event");
  }
  ~Watch() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream);
  }
  Watch(const Watch&) = delete;

  template <class Body>
  float milliseconds(const Body& body) {
    float elapsed = 0;
    check(cudaEventRecord(begin_, stream), "linear: an event");
    body();
    check(cudaEventRecord(end_, stream), "linear: an event");
    check(cudaEventSynchronize(end_), "tuning a product");
    check(cudaEventElapsedTime(&elapsed, begin_, end_), "linear: an event");
    return elapsed;
  }

  cudaStream_t stream = nullptr;

 private:
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

// Of the kernels that run at all.
std::optional<Algorithm> fastest(Handle handle, const Description& description, const Operands& operands, void* workspace, Watch& watch) {
  std::optional<Algorithm> best;
  float least = std::numeric_limits<float>::infinity();
  for (const Algorithm& algorithm : description.find_algorithms(handle, kCandidates)) {
    Status status = kSuccess;
    const auto run = [&] { status = std::max(status, description.multiply(handle, operands, algorithm, workspace, watch.stream)); };
    watch.milliseconds(run);  // loads it
    if (status != kSuccess) continue;
    const float elapsed = watch.milliseconds([&] {
      for (int i = 0; i < kRuns; i++) run();
    });
    if (status == kSuccess && elapsed < least) least = elapsed, best = algorithm;
  }
  return best;
}

}  // namespace

void tune_int8(int rows, int cols, const void* w) {
  Session& here = session();
  const std::lock_guard<std::mutex> lock(here.mutex);
  if (here.tuned.contains({rows, cols})) return;
  std::vector<Tuned>& tuned = here.tuned[{rows, cols}];
  const int most = static_cast<int>(std::min<size_t>(kTokenCounts[std::size(kTokenCounts) - 1], kMostResultBytes / sizeof(int) / static_cast<size_t>(rows)));
  DeviceMemory x, y, workspace;
  try {
    x = DeviceMemory(static_cast<size_t>(most) * static_cast<size_t>(cols), "activations to tune with");
    y = DeviceMemory(static_cast<size_t>(most) * static_cast<size_t>(rows) * sizeof(int), "results of tuning");
    workspace = DeviceMemory(kCallWorkspace, "the workspace of tuning");
  } catch (const Error&) {
    return;  // where weights just fit, the library's first choices serve
  }
  Watch watch;
  for (const int tokens : kTokenCounts) {
    if (tokens > most) break;
    const Description description({Numbers::int8, false, rows, tokens, cols, rows, Result::fp32});
    const auto best = fastest(here.handle, description, {w, x.data(), nullptr, nullptr, y.data()}, workspace.data(), watch);
    if (best) tuned.push_back({tokens, *best});
  }
}

}  // namespace kvant::cuda::linear::library
