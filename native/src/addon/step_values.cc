#include "addon/step_values.h"

#include <algorithm>
#include <climits>

#include "addon/value_reader.h"
#include "plan/check_value.h"

namespace kvant {
namespace {

int to_count(double number, const std::string& what) {
  if (!(number >= INT_MIN && number <= INT_MAX) || number != static_cast<int>(number)) {
    throw invalid(what + " is " + std::to_string(number) + ", must be an integer");
  }
  return static_cast<int>(number);
}

void read_update(const ValueReader& from, RowUpdate& update) {
  update.slot = from.index("slot");
  from.read("promptIds", update.history.prompt_ids);
  from.read("outputIds", update.history.output_ids);
  Sampling& sampling = update.sampling;
  from.read("biasIds", sampling.bias_ids);
  from.read("biases", sampling.biases);
  from.read("suppressedIds", sampling.suppressed_ids);

  std::vector<double> numbers;
  from.read("numbers", numbers);
  check_equal(from.path_of("numbers") + ".length", static_cast<int64_t>(numbers.size()), 9);
  sampling.temperature = numbers[0];
  sampling.top_p = numbers[1];
  sampling.min_p = numbers[2];
  sampling.repetition = numbers[3];
  sampling.frequency = numbers[4];
  sampling.presence = numbers[5];
  sampling.top_k = to_count(numbers[6], "topK");
  sampling.min_tokens = to_count(numbers[7], "minTokens");
  sampling.top_logprobs = to_count(numbers[8], "topLogprobs");

  std::vector<uint32_t> seed;
  from.read("seed", seed);
  check_equal(from.path_of("seed") + ".length", static_cast<int64_t>(seed.size()), 2);
  std::copy_n(seed.begin(), 2, sampling.seed);
}

template <typename Array, typename T>
Array copy_array(Napi::Env env, const std::vector<T>& values) {
  Array array = Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

// The memory itself becomes the array's: a prefill's logits are too large to copy.
Napi::Float32Array move_array(Napi::Env env, FloatArray& array) {
  if (array.count == 0) return Napi::Float32Array::New(env, 0);
  float* const values = array.values.release();
  const size_t count = std::exchange(array.count, 0);
  const auto release = [](Napi::BasicEnv, void* data) { delete[] static_cast<float*>(data); };
  const Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, values, count * sizeof(float), release);
  return Napi::Float32Array::New(env, count, buffer, 0);
}

}  // namespace

void read_step(Napi::Value value, StepInputs& inputs) {
  const ValueReader from(value, "step");
  from.read("rowSlots", inputs.row_slots);
  from.read("rowStarts", inputs.row_starts);
  from.read("rowPositions", inputs.row_positions);
  from.read("rowWants", inputs.row_wants);
  from.read("tokenIds", inputs.token_ids);
  from.read("targets", inputs.targets);
  from.read("pageAppends", inputs.page_appends);
  from.read("pageSwaps", inputs.page_swaps);
  from.read("pageCopies", inputs.page_copies);
  const std::vector<ValueReader> updates = from.list("rowUpdates");
  inputs.row_updates.resize(updates.size());
  for (size_t i = 0; i < updates.size(); i++) read_update(updates[i], inputs.row_updates[i]);
}

Napi::Object write_result(Napi::Env env, StepOutputs& outputs) {
  // Few requests ask for the most likely ids, and twenty pairs to each row of each step would be what garbage collection finds most of.
  const bool has_tops = std::any_of(outputs.top_ids.begin(), outputs.top_ids.end(), [](int32_t id) { return id >= 0; });
  if (!has_tops) outputs.top_ids.clear(), outputs.top_logprobs.clear();
  Napi::Object result = Napi::Object::New(env);
  result.Set("sampledIds", copy_array<Napi::Int32Array>(env, outputs.sampled_ids));
  result.Set("sampledLogprobs", copy_array<Napi::Float32Array>(env, outputs.sampled_logprobs));
  result.Set("topIds", copy_array<Napi::Int32Array>(env, outputs.top_ids));
  result.Set("topLogprobs", copy_array<Napi::Float32Array>(env, outputs.top_logprobs));
  result.Set("logits", move_array(env, outputs.logits));
  result.Set("scores", move_array(env, outputs.scores));
  result.Set("seconds", outputs.seconds);
  if (outputs.gap_seconds) result.Set("gapSeconds", *outputs.gap_seconds);
  result.Set("saturations", static_cast<double>(outputs.saturations));
  return result;
}

}  // namespace kvant
