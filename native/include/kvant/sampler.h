#pragma once
#include <cstdint>
#include <vector>

namespace kvant {

// Semantics and order as packages/kernels/src/step.ts `SamplingParameters`; bit-equal draws to the reference sampler.
struct Sampling {
  double temperature = 0, top_p = 1, min_p = 0, repetition = 1, frequency = 0, presence = 0;
  int top_k = 0, min_tokens = 0, top_logprobs = -1;
  uint32_t seed[2] = {0, 0};
  std::vector<int32_t> bias_ids;
  std::vector<float> biases;
  std::vector<int32_t> suppressed_ids;
};

// What a row slot remembers between steps.
struct RowHistory {
  std::vector<int32_t> prompt_ids;  // distinct ids are what matters
  std::vector<int32_t> output_ids;  // its length is the index of the next draw
};

struct TopLogprob {
  int32_t id;
  float logprob;
};

struct Sampled {
  int32_t id = -1;
  float logprob = 0;  // of the raw distribution; NaN when not asked
  std::vector<TopLogprob> top;
};

// logits [vocab]; scratch is reused between calls.
Sampled sample(const float* logits, int64_t vocab, const Sampling&, const RowHistory&, std::vector<float>& scratch);
// log softmax(logits)[target]
float log_probability(const float* logits, int64_t vocab, int32_t target);
// First word of Philox4x32-10 (Salmon et al., SC 2011) with key `seed` and counter {index, 0, 0, 0}, as (word + 0.5) / 2^32.
double philox_uniform(const uint32_t seed[2], uint32_t index);

}  // namespace kvant
