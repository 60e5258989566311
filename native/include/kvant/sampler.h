#pragma once
#include <cstdint>
#include <vector>

namespace kvant {

// How a row samples; fields as packages/kernels/src/step.ts `SamplingParameters`. The rule, which the reference sampler
// repeats word for word (all of it in double precision, from float32 logits; a NaN logit counts as -infinity):
//   1. repetition: logits of distinct ids of prompt and output: divided if positive, else multiplied (CTRL, arXiv:1909.05858)
//   2. logit -= frequency * count, then logit -= presence, for ids of the output
//   3. logit += bias, entry by entry
//   4. suppressed ids become -infinity while fewer than min_tokens were generated
//   5. temperature 0: the largest logit, the lowest id on a tie. top_k: the k largest stay; on a tie lower ids first
//   6. weight = exp((logit - largest logit) / temperature)
//   7. top_p: in order (logit descending, id ascending) the shortest prefix, at least one, whose running sum of weights
//      reaches top_p * (sum of the weights after step 5)
//   8. min_p: weights below min_p go (the largest weight is 1)
//   9. draw: u = philox_uniform(seed, output length); total = sum of the kept weights in walking order; walk until the running
//      sum exceeds u * total. Walking order is that of step 7; when neither top_k, top_p nor min_p is active it is id
//      ascending, which needs no sort.
// When the largest logit is not finite the answer is that of temperature 0; id 0 if all are -infinity.
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
constexpr int kMaxTopLogprobs = 20;

struct Sampled {
  int32_t id = -1;
  float logprob = 0;  // of the raw distribution; NaN when not asked
  int top_count = 0;
  TopLogprob top[kMaxTopLogprobs];  // most likely first, lower ids first on a tie
};

// Working memory of one thread; sized once, so that sampling does not allocate.
class SamplerScratch {
 public:
  explicit SamplerScratch(int64_t vocab);

  std::vector<double> values;   // [vocab] logits after step 4
  std::vector<double> weights;  // [vocab]
  std::vector<int32_t> ids;     // candidates
  std::vector<int32_t> counts;  // [vocab] zero between calls
};

// logits [vocab]; ids of `sampling` and `history` lie in [0, vocab).
Sampled sample(const float* logits, int64_t vocab, const Sampling& sampling, const RowHistory& history, SamplerScratch& scratch);
// log softmax(logits)[target], accumulated in double.
float log_probability(const float* logits, int64_t vocab, int32_t target);
// First word of Philox4x32-10 (Salmon et al., SC 2011) with key `seed` and counter {index, 0, 0, 0}, as (word + 0.5) / 2^32.
double philox_uniform(const uint32_t seed[2], uint32_t index);

}  // namespace kvant
