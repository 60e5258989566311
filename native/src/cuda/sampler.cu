// One block per row. Order of candidates: value descending, id ascending. Instead of sorting, a radix descent over the digits
// of (value, id) finds the element at which a running count or weight reaches a target; each pass reads the vocabulary once.
#include <algorithm>
#include <cfloat>
#include <cmath>

#include "cuda/launch.cuh"
#include "cuda/reduce.cuh"
#include "cuda/sampler_kernels.h"

namespace kvant::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kGreedyParts = 16;
using Weight = unsigned long long;

// Working memory of a block: values after step 4, and weights in fixed point.
struct Candidates {
  double* values;
  Weight* weights;
  int64_t vocab;
};

// A place in the order: larger keys come first.
struct Key {
  uint64_t value;  // order-preserving bits of the value
  uint32_t id;     // inverted, so that lower ids come first
};

__device__ bool at_or_before(Key a, Key b) { return a.value > b.value || (a.value == b.value && a.id >= b.id); }

__device__ Key key_of(double value, int64_t id) {
  const auto bits = static_cast<uint64_t>(__double_as_longlong(value == 0 ? 0.0 : value));  // -0 ties with 0
  return {bits >> 63 ? ~bits : bits | uint64_t{1} << 63, ~static_cast<uint32_t>(id)};
}

// Digit 0 is the top byte of the value, digit 11 the last of the id.
__device__ int digit_of(Key key, int digit) {
  return static_cast<int>(digit < 8 ? key.value >> (56 - 8 * digit) & 255 : key.id >> (24 - 8 * (digit - 8)) & 255);
}

// The larger value; the lower id on a tie. NaN loses.
struct Best {
  double value;
  int32_t id;
};
__device__ Best no_best() { return {-INFINITY, INT32_MAX}; }
struct BestOf {
  __device__ Best operator()(Best a, Best b) const { return b.value > a.value || (b.value == a.value && b.id < a.id) ? b : a; }
};
__device__ Best warp_best(Best best) {
  for (int offset = 16; offset > 0; offset /= 2) {
    const Best other = {__shfl_xor_sync(0xffffffffu, best.value, offset), __shfl_xor_sync(0xffffffffu, best.id, offset)};
    best = BestOf()(best, other);
  }
  return best;
}
__device__ Best block_best(Best best, Best* shared) {
  best = warp_best(best);
  const int lane = threadIdx.x % 32;
  if (lane == 0) shared[threadIdx.x / 32] = best;
  __syncthreads();
  best = warp_best(lane < kThreads / 32 ? shared[lane] : no_best());
  __syncthreads();
  return best;
}

struct BlockMemory {
  Weight sums[256];
  Best bests[kThreads / 32];
  double doubles[kThreads / 32];
  Weight weights[kThreads / 32];
  Key key;
  Weight before;
  int digit;
};

// The largest of value(id) over the vocabulary; id 0 when all are NaN or -infinity.
template <typename ValueAt>
__device__ Best largest(int64_t vocab, const ValueAt& value_at, BlockMemory& memory) {
  Best best = no_best();
  for (int64_t id = threadIdx.x; id < vocab; id += kThreads) {
    const double value = value_at(id);
    if (value > best.value) best = {value, static_cast<int32_t>(id)};
  }
  best = block_best(best, memory.bests);
  return best.id == INT32_MAX ? Best{-INFINITY, 0} : best;
}

// The first element, in order of digits [first_digit, 12) of the keys, at which the running sum of amount(id) over elements
// with kept(id) reaches `target` >= 1; sums must reach it. Amounts are exact integers, so the answer has no rounding.
template <typename Amount>
__device__ Key select(const Candidates& all, int first_digit, Weight target, const Amount& amount, BlockMemory& memory) {
  if (threadIdx.x == 0) {
    memory.key = {0, 0};
    memory.before = 0;
  }
  __syncthreads();
  for (int digit = first_digit; digit < 12; digit++) {
    for (int bin = threadIdx.x; bin < 256; bin += kThreads) memory.sums[bin] = 0;
    const Key prefix = memory.key;
    __syncthreads();
    for (int64_t id = threadIdx.x; id < all.vocab; id += kThreads) {
      const Key key = key_of(all.values[id], id);
      bool matches = true;
      if (digit <= 8 && first_digit < 8) {
        matches = digit == 0 || digit == 8 ? digit == 0 || key.value == prefix.value
                                           : (key.value ^ prefix.value) >> (64 - 8 * digit) == 0;
      } else {
        const int id_digits = digit - 8;
        matches = (first_digit >= 8 || key.value == prefix.value) &&
                  (id_digits == 0 || (key.id ^ prefix.id) >> (32 - 8 * id_digits) == 0);
      }
      if (!matches) continue;
      const Weight value = amount(id, key);
      if (value > 0) atomicAdd(&memory.sums[digit_of(key, digit)], value);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      Weight running = memory.before;
      int bin = 255;
      while (bin > 0 && running + memory.sums[bin] < target) running += memory.sums[bin--];
      memory.before = running;
      if (digit < 8) {
        memory.key.value |= static_cast<uint64_t>(bin) << (56 - 8 * digit);
      } else {
        memory.key.id |= static_cast<uint32_t>(bin) << (24 - 8 * (digit - 8));
      }
    }
    __syncthreads();
  }
  const Key found = memory.key;
  __syncthreads();
  return found;
}

// Salmon et al., SC 2011: the first word of Philox4x32-10, as (word + 0.5) / 2^32.
__device__ double philox_uniform(const uint32_t seed[2], uint32_t index) {
  uint32_t counter[4] = {index, 0, 0, 0}, key[2] = {seed[0], seed[1]};
  for (int round = 0; round < 10; round++) {
    const uint64_t first = uint64_t{0xD2511F53} * counter[0], second = uint64_t{0xCD9E8D57} * counter[2];
    const uint32_t next[4] = {static_cast<uint32_t>(second >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(second),
                              static_cast<uint32_t>(first >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(first)};
    for (int i = 0; i < 4; i++) counter[i] = next[i];
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return (counter[0] + 0.5) / 4294967296.0;
}

// Steps 1 to 4, into all.values.
__device__ void adjust_logits(const float* logits, const DeviceSampling& sampling, const uint8_t* in_prompt,
                              const int32_t* output_counts, int32_t output_length, const Candidates& all) {
  for (int64_t id = threadIdx.x; id < all.vocab; id += kThreads) {
    double value = isnan(logits[id]) ? -INFINITY : static_cast<double>(logits[id]);
    const int32_t count = output_counts[id];
    if (sampling.repetition != 1 && (count > 0 || in_prompt[id])) {
      value = value > 0 ? value / sampling.repetition : value * sampling.repetition;
    }
    if (count > 0) {
      value = __dsub_rn(value, __dmul_rn(sampling.frequency, count));
      value -= sampling.presence;
    }
    all.values[id] = value;
  }
  __syncthreads();
  if (threadIdx.x == 0) {  // entry by entry: an id may appear twice
    for (int i = 0; i < sampling.bias_count; i++) all.values[sampling.bias_ids[i]] += sampling.biases[i];
    if (output_length < sampling.min_tokens) {
      for (int i = 0; i < sampling.suppressed_count; i++) all.values[sampling.suppressed_ids[i]] = -INFINITY;
    }
  }
  __syncthreads();
}

__device__ Weight total_weight(Weight mine, BlockMemory& memory) { return block_reduce(mine, memory.weights, Sum()); }

// ceil of a positive target, at least 1.
__device__ Weight reach(double target) { return target > 1 ? static_cast<Weight>(ceil(target)) : 1; }

// Steps 5 to 9.
__device__ int32_t draw(const DeviceSampling& sampling, double top, int32_t output_length, const Candidates& all,
                        BlockMemory& memory) {
  int bits = 0;
  while (int64_t{1} << bits < all.vocab) bits++;
  const double one = static_cast<double>(Weight{1} << (62 - bits));  // the sum of all weights stays below 2^63
  const bool has_k = sampling.top_k > 0 && sampling.top_k < all.vocab, has_p = sampling.top_p < 1;
  const double least = sampling.min_p;
  const bool filters = sampling.top_k > 0 || has_p || least > 0;
  for (int64_t id = threadIdx.x; id < all.vocab; id += kThreads) {
    // The lowest bit says whether min_p lets the candidate stay, from the weight before it is rounded.
    const double weight = exp((all.values[id] - top) / sampling.temperature);
    all.weights[id] = __double2ull_rn(weight * one) << 1 | (weight >= least ? 1 : 0);
  }
  __syncthreads();

  Key last = {0, 0};  // the last candidate that stays; all keys are at or before it
  if (has_k) {
    last = select(all, 0, static_cast<Weight>(sampling.top_k), [](int64_t, Key) { return Weight{1}; }, memory);
  }
  if (has_p) {
    Weight mine = 0;
    for (int64_t id = threadIdx.x; id < all.vocab; id += kThreads) {
      if (at_or_before(key_of(all.values[id], id), last)) mine += all.weights[id] >> 1;
    }
    const Weight sum = total_weight(mine, memory);
    const double enough = sampling.top_p * static_cast<double>(sum);
    const auto amount = [&](int64_t id, Key key) { return at_or_before(key, last) ? all.weights[id] >> 1 : 0; };
    last = select(all, 0, min(reach(enough), sum), amount, memory);
  }
  const auto kept = [&](int64_t id, Key key) {
    const Weight weight = all.weights[id];
    return (weight & 1) != 0 && at_or_before(key, last) ? weight >> 1 : 0;
  };
  Weight mine = 0;
  for (int64_t id = threadIdx.x; id < all.vocab; id += kThreads) mine += kept(id, key_of(all.values[id], id));
  const double total = static_cast<double>(total_weight(mine, memory));
  const double uniform = philox_uniform(sampling.seed, static_cast<uint32_t>(output_length));
  // The running sum must exceed the threshold. Without filters the order is that of ids alone.
  const Weight target = static_cast<Weight>(floor(uniform * total)) + 1;
  return static_cast<int32_t>(~select(all, filters ? 0 : 8, target, kept, memory).id);
}

__device__ double log_sum(const float* logits, int64_t vocab, BlockMemory& memory) {
  const double top = largest(vocab, [&](int64_t id) { return static_cast<double>(logits[id]); }, memory).value;
  if (!isfinite(top)) return top;
  double sum = 0;
  for (int64_t id = threadIdx.x; id < vocab; id += kThreads) sum += exp(logits[id] - top);
  return top + log(block_reduce(sum, memory.doubles, Sum()));
}

__device__ void report_logprobs(const float* logits, int64_t vocab, int top_logprobs, RowResult& result, BlockMemory& memory) {
  const double normalizer = log_sum(logits, vocab, memory);
  if (threadIdx.x == 0) result.logprob = static_cast<float>(logits[result.id] - normalizer);
  Best previous = {INFINITY, -1};
  const int64_t count = min(static_cast<int64_t>(min(top_logprobs, kMaxTopLogprobs)), vocab);
  for (int rank = 0; rank < count; rank++) {
    Best best = no_best();
    for (int64_t id = threadIdx.x; id < vocab; id += kThreads) {
      const double value = isnan(logits[id]) ? -INFINITY : static_cast<double>(logits[id]);
      const bool later = value < previous.value || (value == previous.value && id > previous.id);
      if (later) best = BestOf()(best, {value, static_cast<int32_t>(id)});
    }
    previous = block_best(best, memory.bests);
    if (threadIdx.x == 0) {
      result.top_ids[rank] = previous.id;
      result.top_logprobs[rank] = static_cast<float>(logits[previous.id] - normalizer);
    }
  }
}

__device__ bool changes_logits(const DeviceSampling& sampling, int32_t output_length) {
  return sampling.repetition != 1 || sampling.frequency != 0 || sampling.presence != 0 || sampling.bias_count > 0 ||
         (sampling.suppressed_count > 0 && output_length < sampling.min_tokens);
}

// Greedy rows without changes to their logits: the best of every kGreedyParts-th part of the vocabulary, so that one row has many
// blocks. bests: [rows, kGreedyParts]
__global__ void __launch_bounds__(kThreads) greedy_kernel(const float* all_logits, int64_t vocab, const SampledRow* rows,
                                                          RowStates states, Best* bests) {
  __shared__ BlockMemory memory;
  let_next_start();
  wait_for_inputs();
  const SampledRow row = rows[blockIdx.x];
  if (row.slot < 0) return;
  const DeviceSampling& sampling = states.samplings[row.slot];
  if (sampling.temperature != 0 || changes_logits(sampling, states.output_lengths[row.slot])) return;
  const float* const logits = all_logits + row.logit_row * vocab;
  const int64_t begin = vocab * blockIdx.y / kGreedyParts, end = vocab * (blockIdx.y + 1) / kGreedyParts;
  Best best = no_best();
#pragma unroll 8
  for (int64_t id = begin + threadIdx.x; id < end; id += kThreads) {
    const double value = logits[id];
    if (value > best.value) best = {value, static_cast<int32_t>(id)};
  }
  best = block_best(best, memory.bests);
  if (threadIdx.x == 0) bests[blockIdx.x * kGreedyParts + blockIdx.y] = best;
}

__global__ void __launch_bounds__(kThreads) sample_kernel(const float* all_logits, int64_t vocab, const SampledRow* rows,
                                                          int64_t count, RowStates states, uint8_t* scratch,
                                                          const Best* bests, RowResult* results) {
  __shared__ BlockMemory memory;
  let_next_start();
  wait_for_inputs();
  auto* const values = reinterpret_cast<double*>(scratch) + blockIdx.x * vocab;
  auto* const weights = reinterpret_cast<Weight*>(scratch) + (gridDim.x + blockIdx.x) * vocab;
  const Candidates all = {values, weights, vocab};
  for (int64_t row = blockIdx.x; row < count; row += gridDim.x) {
    const int64_t slot = rows[row].slot;
    if (slot < 0) continue;
    const float* const logits = all_logits + rows[row].logit_row * vocab;
    const DeviceSampling& sampling = states.samplings[slot];
    const int32_t output_length = states.output_lengths[slot];
    RowResult& result = results[row];
    const bool changes = changes_logits(sampling, output_length);
    int32_t id;
    if (sampling.temperature == 0 && !changes) {
      Best best = no_best();
      for (int part = 0; part < kGreedyParts; part++) best = BestOf()(best, bests[row * kGreedyParts + part]);
      id = best.id == INT32_MAX ? 0 : best.id;
    } else {
      adjust_logits(logits, sampling, states.in_prompt + slot * vocab, states.output_counts + slot * vocab, output_length, all);
      const Best top = largest(vocab, [&](int64_t i) { return all.values[i]; }, memory);
      id = sampling.temperature == 0 || !isfinite(top.value) ? top.id : draw(sampling, top.value, output_length, all, memory);
    }
    if (threadIdx.x < kMaxTopLogprobs) {
      result.top_ids[threadIdx.x] = -1;
      result.top_logprobs[threadIdx.x] = NAN;
    }
    if (threadIdx.x == 0) {
      result.id = id;
      result.logprob = NAN;
    }
    __syncthreads();
    if (sampling.top_logprobs >= 0) report_logprobs(logits, vocab, sampling.top_logprobs, result, memory);
    if (threadIdx.x == 0) {
      states.output_counts[slot * vocab + id]++;
      states.output_lengths[slot] = output_length + 1;
      states.last_sampled[slot] = id;
    }
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kThreads) score_kernel(const float* all_logits, int64_t vocab, const int32_t* rows,
                                                         const int32_t* targets, float* scores) {
  __shared__ BlockMemory memory;
  wait_for_inputs();
  const float* const logits = all_logits + rows[blockIdx.x] * vocab;
  const double normalizer = log_sum(logits, vocab, memory);
  if (threadIdx.x == 0) scores[blockIdx.x] = static_cast<float>(logits[targets[blockIdx.x]] - normalizer);
}

__global__ void history_kernel(RowStates states, int64_t slot, int64_t vocab, const int32_t* prompt_ids, int64_t prompt_count,
                               const int32_t* output_ids, int64_t output_count) {
  wait_for_inputs();
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (int64_t i = first; i < prompt_count; i += gridDim.x * blockDim.x) states.in_prompt[slot * vocab + prompt_ids[i]] = 1;
  for (int64_t i = first; i < output_count; i += gridDim.x * blockDim.x) {
    atomicAdd(&states.output_counts[slot * vocab + output_ids[i]], 1);
  }
}

}  // namespace

size_t sampler_scratch_bytes(int64_t vocab, int64_t max_rows) {
  return static_cast<size_t>(kSamplerBlocks * vocab) * 16 + static_cast<size_t>(max_rows * kGreedyParts) * sizeof(Best);
}

void sample_rows(const float* logits, int64_t vocab, const SampledRow* rows, int64_t count, const RowStates& states,
                 void* scratch, RowResult* results, Stream stream) {
  auto* const candidates = static_cast<uint8_t*>(scratch);
  auto* const bests = reinterpret_cast<Best*>(candidates + kSamplerBlocks * vocab * 16);
  launch("sample_rows: greedy", greedy_kernel, dim3(static_cast<unsigned>(count), kGreedyParts), kThreads, 0, stream, logits, vocab, rows,
         states, bests);
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(count, kSamplerBlocks));
  launch("sample_rows", sample_kernel, blocks, kThreads, 0, stream, logits, vocab, rows, count, states, candidates, bests, results);
}

void score_rows(const float* logits, int64_t vocab, const int32_t* rows, const int32_t* targets, int64_t count, float* scores,
                Stream stream) {
  launch("score_rows", score_kernel, static_cast<unsigned>(count), kThreads, 0, stream, logits, vocab, rows, targets, scores);
}

void add_history(const RowStates& states, int32_t slot, int64_t vocab, const int32_t* prompt_ids, int64_t prompt_count,
                 const int32_t* output_ids, int64_t output_count, Stream stream) {
  if (prompt_count + output_count == 0) return;
  const auto blocks = static_cast<unsigned>(std::min<int64_t>((std::max(prompt_count, output_count) + 255) / 256, 256));
  launch("add_history", history_kernel, blocks, 256, 0, stream, states, slot, vocab, prompt_ids, prompt_count, output_ids, output_count);
}

}  // namespace kvant::cuda
