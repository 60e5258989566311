#include "kvant/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>

#include "check.h"
#include "cpu/philox.h"

using namespace kvant;

static constexpr int64_t kVocab = 1000;

static Sampled run(const std::vector<float>& logits, const Sampling& sampling, const RowHistory& history = {}) {
  static std::map<size_t, SamplerScratch> scratches;
  auto& scratch = scratches.try_emplace(logits.size(), static_cast<int64_t>(logits.size())).first->second;
  const Sampled sampled = sample(logits.data(), static_cast<int64_t>(logits.size()), sampling, history, scratch);
  for (int32_t count : scratch.counts) CHECK(count == 0);
  return sampled;
}

// The ids that `draws` draws of one setting give.
static std::set<int32_t> drawn(const std::vector<float>& logits, Sampling sampling, int draws = 400) {
  std::set<int32_t> ids;
  RowHistory history;
  for (int i = 0; i < draws; i++) {
    sampling.seed[0] = static_cast<uint32_t>(i);
    ids.insert(run(logits, sampling, history).id);
  }
  return ids;
}

static std::vector<float> random_logits(uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(kVocab);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

// Known answers of the authors' Random123 library, file kat_vectors, philox4x32 with 10 rounds.
static void philox_matches_known_answers() {
  const uint32_t ones = 0xffffffff;
  using Words = std::array<uint32_t, 4>;
  CHECK((philox4x32_10({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  CHECK((philox4x32_10({ones, ones, ones, ones}, {ones, ones}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  CHECK((philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
         Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
  const uint32_t zero[2] = {0, 0};
  CHECK(philox_uniform(zero, 0) == (0x6627e8d5 + 0.5) / 4294967296.0);
}

static void greedy_takes_the_lowest_id_of_a_tie() {
  CHECK(run({1, 3, 3, 2}, {}).id == 1);
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(run({nan, 3, nan, 4}, {}).id == 3);
  CHECK(run({-infinity, nan}, {}).id == 0);
  Sampling tiny;
  tiny.temperature = 1e-320;
  CHECK((drawn({1, 3, 3, 2}, tiny) == std::set<int32_t>{1, 2}));
  tiny.temperature = 1;
  CHECK(run({1, infinity, 3, 2}, tiny).id == 1);
}

static void penalties_follow_their_definitions() {
  Sampling sampling;
  sampling.repetition = 2;  // 4 / 2 < 3; -1 * 2 < -1.5
  CHECK(run({4, 3}, sampling, {{0}, {}}).id == 1);
  CHECK(run({-1, -1.5f}, sampling, {{}, {0}}).id == 1);
  CHECK(run({4, 1.9f}, sampling, {{0}, {0, 0}}).id == 0);  // once, however often it occurs
  sampling = {};
  sampling.frequency = 1;
  CHECK(run({4, 1.5f}, sampling, {{0, 0, 0}, {0, 0}}).id == 0);  // 4 - 2, the prompt does not count
  CHECK(run({4, 1.5f}, sampling, {{}, {0, 0, 0}}).id == 1);
  sampling = {};
  sampling.presence = 1;
  CHECK(run({4, 2.5f}, sampling, {{}, {0, 0, 0}}).id == 0);
  sampling = {};
  sampling.bias_ids = {1, 1};
  sampling.biases = {1, 1.5f};
  CHECK(run({4, 2}, sampling).id == 1);
  sampling = {};
  sampling.min_tokens = 2;
  sampling.suppressed_ids = {0};
  CHECK(run({4, 2}, sampling, {{}, {1}}).id == 1);
  CHECK(run({4, 2}, sampling, {{}, {1, 1}}).id == 0);
}

static void filters_keep_what_they_promise() {
  Sampling sampling;
  sampling.temperature = 1;
  sampling.top_k = 3;
  CHECK((drawn({1, 1, 1, 1, 0}, sampling) == std::set<int32_t>{0, 1, 2}));
  sampling.top_k = 0;
  sampling.top_p = 0.7;
  CHECK((drawn({0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, sampling) == std::set<int32_t>{0, 1, 2, 3, 4, 5, 6}));
  sampling.top_p = 1e-9;
  CHECK((drawn({0, 2, 1}, sampling) == std::set<int32_t>{1}));
  sampling.top_p = 1;
  sampling.min_p = 0.5;
  CHECK((drawn({0, 1, 0.4f}, sampling) == std::set<int32_t>{1, 2}));
  sampling.min_p = 1;
  CHECK((drawn({0, 1, 1}, sampling) == std::set<int32_t>{1, 2}));
}

// A full sort and plain loops, against every shortcut of the sampler.
static int32_t sample_slowly(const std::vector<float>& logits, const Sampling& sampling, const RowHistory& history) {
  std::vector<int32_t> ids(logits.size());
  std::vector<double> weights(logits.size());
  double largest = -1e300;
  for (size_t i = 0; i < ids.size(); i++) {
    ids[i] = static_cast<int32_t>(i);
    largest = std::max<double>(largest, logits[i]);
  }
  for (size_t i = 0; i < ids.size(); i++) weights[i] = std::exp((logits[i] - largest) / sampling.temperature);
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  if (sampling.top_k > 0) ids.resize(std::min<size_t>(ids.size(), static_cast<size_t>(sampling.top_k)));
  double all = 0, total = 0;
  std::vector<int32_t> in_id_order = ids;
  std::sort(in_id_order.begin(), in_id_order.end());
  for (int32_t id : in_id_order) all += weights[id];
  size_t kept = 0;
  while (kept < ids.size() && (sampling.top_p >= 1 || total < sampling.top_p * all)) {
    if (weights[ids[kept]] < sampling.min_p) break;
    total += weights[ids[kept++]];
  }
  ids.resize(kept);
  if (sampling.top_k == 0 && sampling.top_p == 1 && sampling.min_p == 0) {
    ids = in_id_order;
    total = all;
  }
  const double threshold = philox_uniform(sampling.seed, static_cast<uint32_t>(history.output_ids.size())) * total;
  double running = 0;
  for (int32_t id : ids) {
    running += weights[id];
    if (running > threshold) return id;
  }
  return ids.back();
}

static void shortcuts_change_nothing() {
  std::mt19937 random(7);
  for (int i = 0; i < 600; i++) {
    const std::vector<float> logits = random_logits(static_cast<uint32_t>(i));
    Sampling sampling;
    sampling.temperature = 0.3 + (i % 5) * 0.5;
    if (i % 2 == 1) sampling.top_k = static_cast<int>(random() % 1200);
    if (i % 3 == 1) sampling.top_p = 0.5 + 0.5 * (random() % 1000) / 1000.0;
    if (i % 7 == 1) sampling.min_p = (random() % 1000) / 1000.0;
    sampling.seed[0] = static_cast<uint32_t>(random());
    sampling.seed[1] = static_cast<uint32_t>(random());
    const RowHistory history{{}, std::vector<int32_t>(random() % 50, 1)};
    CHECK(run(logits, sampling, history).id == sample_slowly(logits, sampling, history));
  }
}

static void draws_follow_the_distribution() {
  Sampling sampling;
  sampling.temperature = 1;
  sampling.seed[0] = 99;
  const std::vector<float> logits = {0, std::log(2.0f), std::log(5.0f)};
  int hits[3] = {};
  RowHistory history;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; i++) {
    const int32_t id = run(logits, sampling, history).id;
    hits[id]++;
    history.output_ids.push_back(id);
  }
  // Five standard deviations of a binomial count.
  const double shares[3] = {1 / 8.0, 2 / 8.0, 5 / 8.0};
  for (int id = 0; id < 3; id++) {
    const double deviation = std::sqrt(kDraws * shares[id] * (1 - shares[id]));
    CHECK(std::abs(hits[id] - kDraws * shares[id]) < 5 * deviation);
  }
}

static void logprobs_are_raw() {
  Sampling sampling;
  CHECK(std::isnan(run({0, 1}, sampling).logprob));
  sampling.top_logprobs = 2;
  sampling.bias_ids = {0};
  sampling.biases = {10};
  const Sampled sampled = run({0, std::log(3.0f), -50}, sampling);
  CHECK(sampled.id == 0);
  CHECK(std::abs(sampled.logprob - std::log(0.25f)) < 1e-6f);
  CHECK(sampled.top_count == 2);
  CHECK(sampled.top[0].id == 1 && sampled.top[1].id == 0);
  CHECK(std::abs(sampled.top[0].logprob - std::log(0.75f)) < 1e-6f);
  const float logits[2] = {0, std::log(3.0f)};
  CHECK(std::abs(log_probability(logits, 2, 1) - std::log(0.75f)) < 1e-6f);
  sampling.top_logprobs = 2;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(run({nan, nan, nan, 1, 2}, sampling).top[0].id == 4);
  sampling.top_logprobs = 20;
  CHECK(run({0, 1, 2}, sampling).top_count == 3);
}

int main() {
  philox_matches_known_answers();
  greedy_takes_the_lowest_id_of_a_tie();
  penalties_follow_their_definitions();
  filters_keep_what_they_promise();
  shortcuts_change_nothing();
  draws_follow_the_distribution();
  logprobs_are_raw();
  return 0;
}
