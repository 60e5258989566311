#include "kvant/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kvant {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Larger values first, lower ids first on a tie. NaN orders as -infinity: a sort must not meet an inconsistent order.
template <typename Value>
struct Descending {
  const Value* values;
  Value key(int32_t id) const { return std::isnan(values[id]) ? -std::numeric_limits<Value>::infinity() : values[id]; }
  bool operator()(int32_t a, int32_t b) const {
    const Value first = key(a), second = key(b);
    return first > second || (first == second && a < b);
  }
};

// The largest value, its lowest id on a tie; 0 when all are NaN or -infinity.
template <typename Value>
int32_t argmax(const Value* values, int64_t count) {
  int32_t best = 0;
  Value largest = -std::numeric_limits<Value>::infinity();
  for (int64_t id = 0; id < count; id++) {
    if (values[id] > largest) {
      largest = values[id];
      best = static_cast<int32_t>(id);
    }
  }
  return best;
}

// The k largest values, in no order. One pass against a heap whose front is the worst that is still kept.
template <typename Value>
void keep_largest(const Value* values, int64_t count, int64_t k, std::vector<int32_t>& ids) {
  const Descending<Value> descending{values};
  ids.clear();
  for (int32_t id = 0; id < count; id++) {
    if (static_cast<int64_t>(ids.size()) < k) {
      ids.push_back(id);
      if (static_cast<int64_t>(ids.size()) == k) std::make_heap(ids.begin(), ids.end(), descending);
    } else if (descending(id, ids.front())) {
      std::pop_heap(ids.begin(), ids.end(), descending);
      ids.back() = id;
      std::push_heap(ids.begin(), ids.end(), descending);
    }
  }
}

// Brings candidates into walking order a batch at a time: a nucleus is mostly a few dozen ids out of a vocabulary.
class LazyOrder {
 public:
  LazyOrder(const double* values, std::vector<int32_t>& ids) : descending_{values}, ids_(ids) {}

  // The id at `position` of the order; positions are asked for in ascending order.
  int32_t at(size_t position) {
    if (position >= sorted_) {
      const auto begin = ids_.begin() + static_cast<std::ptrdiff_t>(sorted_);
      sorted_ = std::min(ids_.size(), std::max<size_t>(64, sorted_ * 4));
      const auto end = ids_.begin() + static_cast<std::ptrdiff_t>(sorted_);
      if (end != ids_.end()) std::nth_element(begin, end, ids_.end(), descending_);
      std::sort(begin, end, descending_);
    }
    return ids_[position];
  }

 private:
  Descending<double> descending_;
  std::vector<int32_t>& ids_;
  size_t sorted_ = 0;
};

bool changes_logits(const Sampling& sampling, const RowHistory& history) {
  return sampling.repetition != 1 || sampling.frequency != 0 || sampling.presence != 0 || !sampling.bias_ids.empty() ||
         (!sampling.suppressed_ids.empty() && static_cast<int64_t>(history.output_ids.size()) < sampling.min_tokens);
}

// Steps 1 and 2.
void apply_penalties(const Sampling& sampling, const RowHistory& history, SamplerScratch& scratch) {
  std::vector<double>& values = scratch.values;
  if (sampling.repetition != 1) {
    for (const auto* ids : {&history.prompt_ids, &history.output_ids}) {
      for (int32_t id : *ids) {
        if (scratch.counts[id]++ > 0) continue;
        values[id] = values[id] > 0 ? values[id] / sampling.repetition : values[id] * sampling.repetition;
      }
    }
    for (const auto* ids : {&history.prompt_ids, &history.output_ids}) {
      for (int32_t id : *ids) scratch.counts[id] = 0;
    }
  }
  if (sampling.frequency == 0 && sampling.presence == 0) return;
  for (int32_t id : history.output_ids) scratch.counts[id]++;
  for (int32_t id : history.output_ids) {
    if (scratch.counts[id] == 0) continue;
    values[id] -= sampling.frequency * scratch.counts[id];
    values[id] -= sampling.presence;
    scratch.counts[id] = 0;
  }
}

// Steps 1 to 4, into scratch.values.
void adjust_logits(const float* logits, int64_t vocab, const Sampling& sampling, const RowHistory& history,
                   SamplerScratch& scratch) {
  for (int64_t id = 0; id < vocab; id++) scratch.values[id] = std::isnan(logits[id]) ? -kInfinity : logits[id];
  apply_penalties(sampling, history, scratch);
  for (size_t i = 0; i < sampling.bias_ids.size(); i++) scratch.values[sampling.bias_ids[i]] += sampling.biases[i];
  if (static_cast<int64_t>(history.output_ids.size()) < sampling.min_tokens) {
    for (int32_t id : sampling.suppressed_ids) scratch.values[id] = -kInfinity;
  }
}

double weight_of(double logit, double largest, double temperature) {
  // The difference is divided, not the logits: a tiny temperature would turn those into infinities.
  return std::exp((logit - largest) / temperature);
}

// Walks `count` ids until the running sum of their weights exceeds uniform * total.
template <typename IdAt>
int32_t walk(const IdAt& id_at, size_t count, const std::vector<double>& weights, double uniform, double total) {
  const double threshold = uniform * total;
  double running = 0;
  for (size_t i = 0; i < count; i++) {
    running += weights[id_at(i)];
    if (running > threshold) return id_at(i);
  }
  return id_at(count - 1);
}

// Steps 6 and 9 over the whole vocabulary, in id order.
int32_t draw_from_all(double largest, double temperature, double uniform, SamplerScratch& scratch) {
  const size_t vocab = scratch.values.size();
  double total = 0;
  for (size_t id = 0; id < vocab; id++) total += scratch.weights[id] = weight_of(scratch.values[id], largest, temperature);
  return walk([](size_t i) { return static_cast<int32_t>(i); }, vocab, scratch.weights, uniform, total);
}

// Steps 5 to 9.
int32_t draw_from_kept(const Sampling& sampling, double largest, double uniform, SamplerScratch& scratch) {
  std::vector<double>& weights = scratch.weights;
  std::vector<int32_t>& ids = scratch.ids;
  const auto vocab = static_cast<int64_t>(scratch.values.size());
  if (sampling.top_k > 0 && sampling.top_k < vocab) {
    keep_largest(scratch.values.data(), vocab, sampling.top_k, ids);
    std::sort(ids.begin(), ids.end());
  } else {
    ids.resize(static_cast<size_t>(vocab));
    for (int32_t id = 0; id < vocab; id++) ids[id] = id;
  }
  double all = 0;
  for (int32_t id : ids) all += weights[id] = weight_of(scratch.values[id], largest, sampling.temperature);

  const double enough = sampling.top_p < 1 ? sampling.top_p * all : kInfinity;
  LazyOrder order(scratch.values.data(), ids);
  size_t kept = 0;
  double total = 0;
  while (kept < ids.size() && total < enough) {
    const double weight = weights[order.at(kept)];
    if (weight < sampling.min_p && kept > 0) break;
    total += weight;
    kept++;
  }
  return walk([&](size_t i) { return ids[i]; }, kept, weights, uniform, total);
}

// log(sum(exp(logits)))
double log_sum(const float* logits, int64_t vocab) {
  double largest = -kInfinity;
  for (int64_t id = 0; id < vocab; id++) largest = std::max<double>(largest, logits[id]);
  if (!std::isfinite(largest)) return largest;
  double sum = 0;
  for (int64_t id = 0; id < vocab; id++) sum += std::exp(logits[id] - largest);
  return largest + std::log(sum);
}

void report_logprobs(const float* logits, int64_t vocab, int top_logprobs, SamplerScratch& scratch, Sampled& sampled) {
  const double normalizer = log_sum(logits, vocab);
  sampled.logprob = static_cast<float>(logits[sampled.id] - normalizer);
  if (top_logprobs == 0) return;
  keep_largest(logits, vocab, std::min<int64_t>({top_logprobs, kMaxTopLogprobs, vocab}), scratch.ids);
  std::sort(scratch.ids.begin(), scratch.ids.end(), Descending<float>{logits});
  for (int32_t id : scratch.ids) sampled.top[sampled.top_count++] = {id, static_cast<float>(logits[id] - normalizer)};
}

int32_t choose(const float* logits, int64_t vocab, const Sampling& sampling, const RowHistory& history,
               SamplerScratch& scratch) {
  if (sampling.temperature == 0 && !changes_logits(sampling, history)) return argmax(logits, vocab);
  adjust_logits(logits, vocab, sampling, history, scratch);
  const int32_t likeliest = argmax(scratch.values.data(), vocab);
  const double largest = scratch.values[likeliest];
  if (sampling.temperature == 0 || !std::isfinite(largest)) return likeliest;

  const double uniform = philox_uniform(sampling.seed, static_cast<uint32_t>(history.output_ids.size()));
  const bool filters = sampling.top_k > 0 || sampling.top_p < 1 || sampling.min_p > 0;
  return filters ? draw_from_kept(sampling, largest, uniform, scratch)
                 : draw_from_all(largest, sampling.temperature, uniform, scratch);
}

}  // namespace

SamplerScratch::SamplerScratch(int64_t vocab)
    : values(static_cast<size_t>(vocab)), weights(static_cast<size_t>(vocab)), counts(static_cast<size_t>(vocab)) {
  ids.reserve(static_cast<size_t>(vocab));
}

Sampled sample(const float* logits, int64_t vocab, const Sampling& sampling, const RowHistory& history,
               SamplerScratch& scratch) {
  Sampled sampled;
  sampled.id = choose(logits, vocab, sampling, history, scratch);
  sampled.logprob = std::numeric_limits<float>::quiet_NaN();
  if (sampling.top_logprobs >= 0) report_logprobs(logits, vocab, sampling.top_logprobs, scratch, sampled);
  return sampled;
}

float log_probability(const float* logits, int64_t vocab, int32_t target) {
  return static_cast<float>(logits[target] - log_sum(logits, vocab));
}

}  // namespace kvant
