// Speed of the linear kernels against two probes that run in turn with them: reading memory, and the multiplier's peak.
//
//   linear_bench [tier] [token counts, comma separated] [part of a scheme's name]
//
// Matrices of 2048 x 5632 and 5632 x 2048 alternate, enough of them (at least 256 MB) that no cache holds the weights.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#if KVANT_ARCH_X86
#include <immintrin.h>
#endif

#include "cpu/probe_compute.h"
#include "kvant/linear.h"

namespace {

using kvant::Format;
using Clock = std::chrono::steady_clock;

constexpr int kThreads = 2;
constexpr size_t kTotalBytes = size_t{256} << 20;

double seconds(const std::function<void()>& body) {
  const auto start = Clock::now();
  body();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

#if KVANT_ARCH_X86
// Sums a range through four streams, as fast as the memory gives it.
__attribute__((target("avx2"))) uint64_t read_range(const uint8_t* from, size_t bytes) {
  const size_t part = bytes / 4 / 256 * 256;
  __m256i sum[8] = {};
  for (size_t at = 0; at < part; at += 64) {
    for (int stream = 0; stream < 4; stream++) {
      const uint8_t* line = from + stream * part + at;
      _mm_prefetch(reinterpret_cast<const char*>(line + 2048), _MM_HINT_T0);
      sum[2 * stream] = _mm256_add_epi64(sum[2 * stream], _mm256_load_si256(reinterpret_cast<const __m256i*>(line)));
      sum[2 * stream + 1] =
          _mm256_add_epi64(sum[2 * stream + 1], _mm256_load_si256(reinterpret_cast<const __m256i*>(line + 32)));
    }
  }
  for (int i = 1; i < 8; i++) sum[0] = _mm256_add_epi64(sum[0], sum[i]);
  alignas(32) uint64_t lane[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lane), sum[0]);
  return lane[0] + lane[1] + lane[2] + lane[3];
}
#else
uint64_t read_range(const uint8_t* from, size_t bytes) {
  uint64_t sum = 0, word;
  for (size_t at = 0; at + 8 <= bytes; at += 8) std::memcpy(&word, from + at, 8), sum += word;
  return sum;
}
#endif

struct Scheme {
  Format format;
  int group;
  Format activation;
  kvant::Scales scales = kvant::Scales::fp32;
};

void measure(const Scheme& scheme, kvant::Tier tier, const std::vector<int64_t>& token_counts, const std::string& part,
             const uint8_t* probe, kvant::ThreadPool& pool) {
  constexpr size_t kShare = kTotalBytes / kThreads;
  std::vector<std::unique_ptr<kvant::Matrix>> matrices;
  std::vector<float> source(2048 * 5632);
  uint32_t state = 1;
  for (float& value : source) value = static_cast<float>((state = state * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1.0f;
  size_t bytes = 0;
  double load_seconds = 0, loaded = 0;
  for (bool wide = false; bytes < kTotalBytes; wide = !wide) {
    const kvant::MatrixSpec spec{wide ? 5632 : 2048, wide ? 2048 : 5632, scheme.format, scheme.group, scheme.activation, 0,
                                 scheme.scales};
    matrices.push_back(kvant::make_matrix(spec, tier));
    if (matrices.back()->variant().find(part) == std::string::npos) return;
    load_seconds += seconds([&] { matrices.back()->load_rows(0, spec.rows, Format::fp32, source.data(), pool); });
    loaded += static_cast<double>(source.size());
    bytes += matrices.back()->bytes();
  }
  for (int64_t tokens : token_counts) {
    std::vector<float> x(source.begin(), source.begin() + tokens * 5632), y(tokens * 5632);
    const auto prepared = std::unique_ptr<uint8_t, decltype(&std::free)>(
        static_cast<uint8_t*>(std::aligned_alloc(64, (tokens * 5632 * 8 + 65536) / 64 * 64)), &std::free);
    std::vector<double> times, probe_times, peaks, prepare_times;
    const size_t used = tokens <= 16 ? matrices.size() : std::min<size_t>(matrices.size(), 2);
    double weights = 0;
    for (size_t i = 0; i < used; i++) weights += static_cast<double>(matrices[i]->bytes());
    for (int round = 0; round < 7; round++) {
      std::vector<uint64_t> sums(kThreads);
      probe_times.push_back(seconds([&] {
        pool.parallel_for(kThreads, 1, [&](int64_t begin, int64_t end, int) {
          for (int64_t i = begin; i < end; i++) sums[i] = read_range(probe + i * kShare, kShare);
        });
      }));
      peaks.push_back(
          kvant::probe_compute(scheme.activation == Format::int8 ? "int8" : "float32", tier, kThreads, 1).front());
      double preparing = 0;
      pool.begin_step();
      times.push_back(seconds([&] {
        for (size_t i = 0; i < used; i++) {
          const kvant::Matrix& matrix = *matrices[i];
          preparing += seconds([&] { matrix.prepare_all(x.data(), tokens, prepared.get(), pool); });
          matrix.run_all(prepared.get(), tokens, nullptr, y.data(), pool);
        }
      }));
      pool.end_step();
      prepare_times.push_back(preparing / static_cast<double>(used));
    }
    const double time = median(times), probed = kTotalBytes / median(probe_times) / 1e9;
    const double operations = 2.0 * static_cast<double>(tokens * used) * 2048 * 5632 / time / 1e9;
    const double top = *std::max_element(peaks.begin(), peaks.end()) / 1e9;
    std::printf("%-35s tokens %4lld  %6.2f GB/s %5.1f%% of %5.2f   %7.1f GOP/s %5.1f%% of %6.1f   ",
                matrices[0]->variant().c_str(), static_cast<long long>(tokens), weights / time / 1e9,
                weights / time / 1e7 / probed, probed, operations, 100 * operations / top, top);
    std::printf("prepare %6.1f us   load %5.1f M/s\n", median(prepare_times) * 1e6, loaded / load_seconds / 1e6);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int count, char** arguments) {
  const kvant::Tier tier = kvant::choose_tier(count > 1 ? arguments[1] : "");
  std::vector<int64_t> token_counts;
  const std::string list = count > 2 ? arguments[2] : "1,256";
  for (size_t at = 0; at < list.size(); at = list.find(',', at) == std::string::npos ? list.size() : list.find(',', at) + 1) {
    token_counts.push_back(std::atoll(list.c_str() + at));
  }
  const std::string part = count > 3 ? arguments[3] : "";
  kvant::ThreadPool pool(kThreads);
  std::vector<uint8_t> memory(kTotalBytes + 64, 1);
  const uint8_t* probe = memory.data() + 64 - reinterpret_cast<uintptr_t>(memory.data()) % 64;
  const Scheme schemes[] = {
      {Format::int8, -1, Format::int8},  {Format::int8, 128, Format::int8}, {Format::int8, 32, Format::int8},
      {Format::int4, -1, Format::int8},  {Format::int4, 128, Format::int8}, {Format::int4, 32, Format::int8},
      {Format::bf16, 0, Format::bf16},   {Format::fp16, 0, Format::bf16},   {Format::fp32, 0, Format::fp32},
      {Format::int8, -1, Format::bf16},  {Format::int4, 32, Format::bf16},  {Format::int4, 128, Format::bf16},
      {Format::e4m3, -1, Format::bf16},  {Format::e4m3, 128, Format::bf16}, {Format::e5m2, -1, Format::bf16},
      {Format::e2m1, 32, Format::bf16},
      {Format::int4, 32, Format::int8, kvant::Scales::affine},
      {Format::e2m1, 32, Format::bf16, kvant::Scales::e8m0},
      {Format::e2m1, 16, Format::bf16, kvant::Scales::e4m3},
  };
  for (const Scheme& scheme : schemes) measure(scheme, tier, token_counts, part, probe, pool);
}
