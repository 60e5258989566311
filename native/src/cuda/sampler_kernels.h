#pragma once
#include <cstdint>

#include "kvant/cuda/stream.h"
#include "kvant/sampler.h"

namespace kvant::cuda {

// A row slot's parameters on the device; meaning as kvant/sampler.h.
struct DeviceSampling {
  double temperature = 0, top_p = 1, min_p = 0, repetition = 1, frequency = 0, presence = 0;
  int top_k = 0, min_tokens = 0, top_logprobs = -1;
  uint32_t seed[2] = {0, 0};
  int bias_count = 0, suppressed_count = 0;
  const int32_t* bias_ids = nullptr;  // [bias_count]
  const float* biases = nullptr;
  const int32_t* suppressed_ids = nullptr;  // [suppressed_count]
};

// What all row slots remember between steps.
struct RowStates {
  DeviceSampling* samplings = nullptr;  // [slots]
  uint8_t* in_prompt = nullptr;         // [slots, vocab] 1: the id is in the prompt
  int32_t* output_counts = nullptr;     // [slots, vocab] how often the id is in the output
  int32_t* output_lengths = nullptr;    // [slots]
  int32_t* last_sampled = nullptr;      // [slots]
};

// The answer of one row; ids past top_count are -1.
struct RowResult {
  int32_t id;
  float logprob;
  int32_t top_ids[kMaxTopLogprobs];
  float top_logprobs[kMaxTopLogprobs];
};

struct SampledRow {
  int32_t logit_row, slot;  // slot -1: padding
};

// Blocks of one launch, each with scratch of vocab doubles and vocab 64-bit weights.
constexpr int kSamplerBlocks = 64;
size_t sampler_scratch_bytes(int64_t vocab, int64_t max_rows);

// Draws a token for rows [count] from logits [logit rows, vocab], remembers it in the row states and writes results [count].
// The rule is that of kvant/sampler.h; its running sums are taken over weights in fixed point, which makes them exact and
// independent of their order (a weight below 2^-44 of the largest counts as 0).
void sample_rows(const float* logits, int64_t vocab, const SampledRow* rows, int64_t count, const RowStates& states,
                 void* scratch, RowResult* results, Stream stream);
// scores[i] = log softmax(logits[rows[i]])[targets[i]]
void score_rows(const float* logits, int64_t vocab, const int32_t* rows, const int32_t* targets, int64_t count, float* scores,
                Stream stream);
// Marks prompt ids and counts output ids of one slot, whose arrays are clear.
void add_history(const RowStates& states, int32_t slot, int64_t vocab, const int32_t* prompt_ids, int64_t prompt_count,
                 const int32_t* output_ids, int64_t output_count, Stream stream);

}  // namespace kvant::cuda
