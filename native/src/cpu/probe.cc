#include "cpu/probe.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <string>

#include "cpu/page_memory.h"
#include "cpu/read_streams.h"
#include "kvant/thread_pool.h"
#include "kvant/tier.h"
#include "plan/error.h"

namespace kvant {
namespace {

using ReadStreams = uint64_t (*)(const void*, size_t);

ReadStreams widest_read() {
  switch (present_tiers().front()) {
#if KVANT_ARCH_X86
    case Tier::avx512vnni: return avx512vnni_streams::read_streams;
    case Tier::avx2: return avx2_streams::read_streams;
#elif KVANT_ARCH_ARM64
    case Tier::neon: return neon_streams::read_streams;
#endif
    default: return scalar_streams::read_streams;
  }
}

}  // namespace

std::vector<double> probe_read(size_t bytes, int threads, int repeats) {
  constexpr size_t kPiece = size_t{1} << 20;  // one hand-out: four streams of 256 KiB
  constexpr size_t kLargest = size_t{1} << 40;
  constexpr int kMostRepeats = 1000;
  if (bytes < kPiece || bytes > kLargest) {
    throw invalid("bytes is " + std::to_string(bytes) + ", must be " + std::to_string(kPiece) + " to " + std::to_string(kLargest));
  }
  if (repeats < 1 || repeats > kMostRepeats) {
    throw invalid("repeats is " + std::to_string(repeats) + ", must be 1 to " + std::to_string(kMostRepeats));
  }
  const int64_t pieces = static_cast<int64_t>(bytes / kPiece);
  const PageMemory memory(static_cast<size_t>(pieces) * kPiece, "the bandwidth probe");
  ThreadPool pool(threads);
  auto* const base = memory.as<uint8_t>();
  pool.begin_step();
  const auto touch = [&](int64_t begin, int64_t end, int) {
    std::memset(base + static_cast<size_t>(begin) * kPiece, 1, static_cast<size_t>(end - begin) * kPiece);
  };
  pool.parallel_for(pieces, 1, std::ref(touch));

  const ReadStreams read = widest_read();
  std::atomic<uint64_t> sum{0};
  const auto read_pieces = [&](int64_t begin, int64_t end, int) {
    uint64_t part = 0;
    for (int64_t piece = begin; piece < end; piece++) part ^= read(base + static_cast<size_t>(piece) * kPiece, kPiece);
    sum.fetch_xor(part, std::memory_order_relaxed);
  };
  std::vector<double> rates;
  for (int i = 0; i < repeats; i++) {
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(pieces, 1, std::ref(read_pieces));
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    rates.push_back(static_cast<double>(memory.bytes()) / seconds.count());
  }
  pool.end_step();
  return rates;
}

}  // namespace kvant
