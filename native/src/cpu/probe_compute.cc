#include "cpu/probe_compute.h"

#include <atomic>
#include <chrono>
#include <functional>

#include "cpu/multiply_peak.h"
#include "kvant/thread_pool.h"
#include "plan/check_value.h"
#include "plan/error.h"

namespace kvant {
namespace {

using Rounds = int64_t (*)(int64_t);

Rounds rounds_of(Tier tier, bool int8) {
  switch (tier) {
#if KVANT_ARCH_X86
    case Tier::amx: return int8 ? amx_multiply::int8_rounds : avx512vnni_multiply::float32_rounds;
    case Tier::avx512vnni: return int8 ? avx512vnni_multiply::int8_rounds : avx512vnni_multiply::float32_rounds;
    case Tier::avxvnni: return int8 ? avxvnni_multiply::int8_rounds : avx2_multiply::float32_rounds;
    case Tier::avx2: return int8 ? avx2_multiply::int8_rounds : avx2_multiply::float32_rounds;
#elif KVANT_ARCH_ARM64
    case Tier::neon: return int8 ? neon_multiply::int8_rounds : neon_multiply::float32_rounds;
#endif
    default: return int8 ? scalar_multiply::int8_rounds : scalar_multiply::float32_rounds;
  }
}

}  // namespace

std::vector<double> probe_compute(const std::string& kind, Tier tier, int64_t threads, int64_t repeats) {
  // A few milliseconds per thread, in pieces: a thread that is held up leaves its share to the others.
  constexpr int64_t kPieces = 16, kRounds = 200000;
  if (kind != "float32" && kind != "int8") {
    throw invalid("there is no compute probe \"" + kind + "\"; there are float32 and int8");
  }
  check_range("repeats", repeats, 1, 1000);
  check_range("threads", threads, 1, 1024);
  const Rounds run = rounds_of(tier, kind == "int8");
  ThreadPool pool(static_cast<int>(threads));
  const ThreadPoolStep awake(pool);
  std::atomic<int64_t> products{0};
  const auto pieces = [&](int64_t begin, int64_t end, int) {
    for (int64_t piece = begin; piece < end; piece++) products.fetch_add(run(kRounds), std::memory_order_relaxed);
  };
  std::vector<double> rates;
  for (int64_t i = 0; i < repeats; i++) {
    products = 0;
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(threads * kPieces, 1, std::ref(pieces));
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    rates.push_back(2 * static_cast<double>(products) / seconds.count());
  }
  return rates;
}

}  // namespace kvant
