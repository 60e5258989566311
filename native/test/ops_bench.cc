// Decode attention per KV format against the read bandwidth of one core, in the same run:
//   ops_bench [context = 4096] [sequences = 16] [heads = 32] [kv heads = 8] [head dim = 128] [tier] [format]
// Each sequence decodes one token; every sequence has pages of its own, so that nothing is read twice out of a cache.
// GB/s counts each code and scale of K and V once. Prefill: the last 64 positions of one sequence, in tiles of 8.
#include <algorithm>
#include <cstdlib>
#include <ctime>

#include "ops_fixture.h"

namespace kvant::test {
namespace {

// Seconds of processor time of this thread: other load on the machine counts only through caches and memory it shares.
double now() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Bytes per second of one thread summing a buffer in four streams.
double probe(const std::vector<uint64_t>& memory) {
  const double start = now();
  const size_t quarter = memory.size() / 4;
  uint64_t sums[4][8] = {};
  for (size_t i = 0; i + 8 <= quarter; i += 8) {
    for (size_t s = 0; s < 4; s++) {
      __builtin_prefetch(memory.data() + s * quarter + i + 256);
      for (size_t lane = 0; lane < 8; lane++) sums[s][lane] ^= memory[s * quarter + i + lane];
    }
  }
  volatile uint64_t sink = 0;
  for (auto& stream : sums) {
    for (uint64_t sum : stream) sink = sink ^ sum;
  }
  return static_cast<double>(memory.size() * 8) / (now() - start);
}

struct Setting {
  int context, sequences, heads, kv_heads, head_dim;
};

void measure(Tier tier, Format format, const Setting& s, const std::vector<uint64_t>& memory) {
  const OpKernels& ops = op_kernels(tier);
  Cache cache({.format = format, .kv_heads = s.kv_heads, .head_dim = s.head_dim, .slots = s.sequences, .context = s.context});
  Random random(5);
  const int64_t kv_width = static_cast<int64_t>(s.kv_heads) * s.head_dim, q_width = static_cast<int64_t>(s.heads) * s.head_dim;
  const std::vector<float> row = random.normals(static_cast<size_t>(64 * kv_width));
  for (int slot = 0; slot < s.sequences; slot++) {
    for (int start = 0; start < s.context; start += 64) {
      Tokens tokens;
      tokens.add(slot, start, std::min(64, s.context - start));
      ops.kv_write(row.data(), row.data(), tokens.view(), cache.pages, 0, 0, tokens.view().count);
    }
  }
  Tokens last;
  for (int slot = 0; slot < s.sequences; slot++) last.add(slot, s.context - 1, 1);
  const std::vector<float> q = random.normals(static_cast<size_t>(std::max(s.sequences, 64) * q_width));
  std::vector<float> out(q.size());
  std::vector<uint8_t> scratch(attention_scratch_bytes(s.heads, cache.pages));
  const AttentionArgs args = {q.data(), out.data(), s.heads, 1 / std::sqrt(static_cast<float>(s.head_dim)), 0};
  std::vector<double> rates, probes, seconds;
  const double per_value = bits(format) / 8.0 + (bits(format) == 8 ? 4.0 / s.head_dim : 0);
  const double bytes = 2.0 * s.sequences * s.context * static_cast<double>(kv_width) * per_value;
  for (int repeat = 0; repeat < 9; repeat++) {
    probes.push_back(probe(memory));
    const double start = now();
    for (int slot = 0; slot < s.sequences; slot++) {
      for (int head = 0; head < s.kv_heads; head++) {
        ops.attention(args, last.view(), cache.pages, {slot, 1, slot}, head, scratch.data());
      }
    }
    seconds.push_back(now() - start);
    rates.push_back(bytes / seconds.back());
  }
  Tokens chunk;
  const int chunk_tokens = std::min(64, s.context);
  chunk.add(0, s.context - chunk_tokens, chunk_tokens);
  std::vector<double> prefill;
  for (int repeat = 0; repeat < 5; repeat++) {
    const double start = now();
    for (int first = 0; first < chunk_tokens; first += 8) {
      for (int head = 0; head < s.kv_heads; head++) {
        ops.attention(args, chunk.view(), cache.pages, {first, std::min(8, chunk_tokens - first), 0}, head, scratch.data());
      }
    }
    prefill.push_back(4.0 * chunk_tokens * (s.context - chunk_tokens / 2.0) * static_cast<double>(q_width) / (now() - start));
  }
  const double rate = median(rates), most = median(probes);
  std::printf("attention_%s_%-11s %8.1f us/token %7.2f GB/s %5.1f %% of %6.2f GB/s   prefill %6.1f GFLOP/s\n", name_of(format),
              tier_name(tier), 1e6 * median(seconds) / s.sequences, rate / 1e9, 100 * rate / most, most / 1e9,
              median(prefill) / 1e9);
}

}  // namespace
}  // namespace kvant::test

int main(int argc, char** argv) {
  using namespace kvant;
  using namespace kvant::test;
  const auto argument = [&](int index, int otherwise) { return index < argc ? std::atoi(argv[index]) : otherwise; };
  const Setting setting = {argument(1, 4096), argument(2, 16), argument(3, 32), argument(4, 8), argument(5, 128)};
  const std::vector<uint64_t> memory(size_t{1} << 25, 1);  // 256 MiB
  std::printf("context %d, %d sequences, heads %d/%d of %d, one thread\n", setting.context, setting.sequences, setting.heads,
              setting.kv_heads, setting.head_dim);
  for (Tier tier : present_tiers()) {
    if (argc > 6 && std::string(argv[6]) != tier_name(tier)) continue;
    for (Format format : kKvFormats) {
      if (argc > 7 && std::string(argv[7]) != name_of(format)) continue;
      measure(tier, format, setting, memory);
    }
  }
}
