#include "cpu/probe.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>

#include "cpu/page_memory.h"
#include "cpu/read_streams.h"
#include "kvant/thread_pool.h"
#include "kvant/tier.h"
#include "plan/check_value.h"

namespace kvant {
namespace {

using ReadStreams = uint64_t (*)(const void*, size_t);

ReadStreams widest_read() {
  switch (present_tiers().front()) {
#if KVANT_ARCH_X86
    case Tier::amx:
    case Tier::avx512vnni: return avx512vnni_streams::read_streams;
    case Tier::avxvnni:
    case Tier::avx2: return avx2_streams::read_streams;
#elif KVANT_ARCH_ARM64
    case Tier::neon: return neon_streams::read_streams;
#endif
    default: return scalar_streams::read_streams;
  }
}

}  // namespace

std::vector<double> probe_read(size_t bytes, int64_t threads, int64_t repeats) {
  constexpr size_t kPiece = size_t{1} << 20;  // one hand-out: four streams of 256 KiB
  constexpr size_t kLargest = size_t{1} << 40;
  check_range("bytes", static_cast<int64_t>(bytes), kPiece, kLargest);
  check_range("repeats", repeats, 1, 1000);
  check_range("threads", threads, 1, 1024);
  const int64_t pieces = static_cast<int64_t>(bytes / kPiece);
  const PageMemory memory(static_cast<size_t>(pieces) * kPiece, "the bandwidth probe");
  ThreadPool pool(static_cast<int>(threads));
  auto* const base = memory.as<uint8_t>();
  const ThreadPoolStep awake(pool);
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
  for (int64_t i = 0; i < repeats; i++) {
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(pieces, 1, std::ref(read_pieces));
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    rates.push_back(static_cast<double>(memory.bytes()) / seconds.count());
  }
  return rates;
}

}  // namespace kvant
