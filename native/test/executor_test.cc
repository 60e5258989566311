#include "cpu/executor.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

#include "check.h"
#include "cpu/step_thread.h"
#include "plan/error.h"

using namespace kvant;

// embed, qkv, attention over bf16 pages with a window, head; 8 tokens, 2 query heads on 1 KV head of 8 values.
static Plan windowed_plan(int window) {
  Plan plan;
  plan.vocab_size = 8;
  plan.context_length = 128;
  plan.buffers = {{16, Rows::tokens, 0}, {32, Rows::tokens, 1}, {16, Rows::tokens, 2},
                  {16, Rows::tokens, 0}, {16, Rows::logits, 3}, {8, Rows::logits, 4}};
  const auto weight = [](WeightSpec::Kind kind, int64_t rows) { return WeightSpec{.kind = kind, .rows = rows, .cols = 16}; };
  plan.weights = {weight(WeightSpec::Kind::table, 8), weight(WeightSpec::Kind::matrix, 32), weight(WeightSpec::Kind::matrix, 8)};
  plan.ropes = {{{1, 0.1f, 0.01f, 0.001f}, 1}};
  KvGroupSpec group;
  group.layer_count = 1;
  group.kv_heads = 1;
  group.head_dim = 8;
  group.window = window;
  group.format = Format::bf16;
  group.page_count = 20;
  group.v_codes = 256;
  group.page_bytes = group.layer_bytes = 512;
  plan.kv_groups = {group};
  plan.ops = {EmbedOp{0, 0},
              LinearOp{0, 1, kAbsent, 1},
              QkvStoreOp{1, 2, kAbsent, kAbsent, 0, 0, 0, 0, 2},
              AttentionOp{2, 2, 0.35f, 0, 0, 3},
              GatherRowsOp{3, 4},
              LinearOp{4, 2, kAbsent, 5}};
  plan.logits = 5;
  return plan;
}

static std::unique_ptr<Executor> loaded(const Plan& plan, int threads, const std::string& tier) {
  auto executor = std::make_unique<Executor>(plan, ExecutorOptions{{4, 64, 64}, threads, tier});
  for (size_t i = 0; i < plan.weights.size(); i++) {
    const WeightSpec& spec = plan.weights[i];
    std::vector<float> values(static_cast<size_t>(spec.rows * spec.cols));
    for (size_t k = 0; k < values.size(); k++) values[k] = static_cast<float>(std::sin(static_cast<double>(k + 1) * 12.9898 + i));
    const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
    // In two parts, as fused weights arrive.
    const int64_t half = spec.rows / 2, half_bytes = half * spec.cols * 4;
    executor->load_weight(static_cast<int64_t>(i), 0, half, Format::fp32, bytes, static_cast<size_t>(half_bytes));
    executor->load_weight(static_cast<int64_t>(i), half, half, Format::fp32, bytes + half_bytes, static_cast<size_t>(half_bytes));
  }
  executor->check_complete();
  return executor;
}

static StepInputs row_step(int32_t slot, int32_t position, std::vector<int32_t> ids, RowWant want) {
  StepInputs inputs;
  inputs.row_slots = {slot};
  inputs.row_starts = {0, static_cast<int32_t>(ids.size())};
  inputs.row_positions = {position};
  inputs.row_wants = {static_cast<uint8_t>(want)};
  inputs.token_ids = std::move(ids);
  return inputs;
}

static StepOutputs run(Executor& executor, const StepInputs& inputs) {
  StepOutputs outputs;
  validate_step(inputs, executor.plan(), executor.limits());
  executor.run(inputs, outputs);
  return outputs;
}

static std::string failure(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

static std::string failure(Executor& executor, const StepInputs& inputs) {
  return failure([&] { run(executor, inputs); });
}

static std::vector<int32_t> some_ids(int count) {
  std::vector<int32_t> ids;
  for (int i = 0; i < count; i++) ids.push_back((i * i + 3 * i) % 8);
  return ids;
}

static void chunks_threads_and_neighbours_change_no_bit(const std::string& tier) {
  const Plan plan = windowed_plan(20);
  const auto whole = loaded(plan, 3, tier), chunked = loaded(plan, 1, tier);
  const std::vector<int32_t> ids = some_ids(40);
  StepInputs all = row_step(0, 0, ids, RowWant::logits);
  all.row_updates = {{0, {}, {}}};
  all.page_appends = {0, 0, 0, 1, 0, 0, 1, 2, 0, 0, 2, 3};
  const StepOutputs expected = run(*whole, all);

  // Two rows side by side, the second the one that is compared, in chunks of 7, on other pages.
  for (int32_t begin = 0; begin < 40; begin += 7) {
    const int32_t count = std::min(7, 40 - begin);
    StepInputs step = row_step(2, 0, {5, 1}, RowWant::nothing);
    step.row_slots.push_back(1);
    step.row_starts.push_back(2 + count);
    step.row_positions.push_back(begin);
    step.row_wants.push_back(static_cast<uint8_t>(RowWant::logits));
    step.token_ids.insert(step.token_ids.end(), ids.begin() + begin, ids.begin() + begin + count);
    if (begin == 0) {
      step.row_updates = {{1, {}, {}}, {2, {}, {}}};
      step.page_appends = {2, 0, 0, 9, 1, 0, 2, 17, 1, 0, 0, 12, 1, 0, 1, 4};
    }
    const StepOutputs outputs = run(*chunked, step);
    CHECK(outputs.logits.count == static_cast<size_t>(count * 8));
    CHECK(std::memcmp(outputs.logits.values.get(), expected.logits.values.get() + begin * 8, outputs.logits.count * 4) == 0);
  }
}

static void pages_past_the_window_may_be_missing() {
  const Plan plan = windowed_plan(16);
  const auto executor = loaded(plan, 2, "");
  StepInputs start = row_step(0, 0, some_ids(40), RowWant::nothing);
  start.row_updates = {{0, {}, {}}};
  start.page_appends = {0, 0, 0, 1, 0, 0, 1, 2, 0, 0, 2, 3};
  run(*executor, start);
  // Position 40 sees 25 to 40: page 0 of the table is free to go, page 1 is not.
  StepInputs next = row_step(0, 40, {1}, RowWant::sample);
  next.page_appends = {0, 0, 0, 0};
  CHECK(run(*executor, next).sampled_ids[0] >= 0);
  next.row_positions = {41};
  next.page_appends = {0, 0, 1, 0};
  CHECK(failure(*executor, next) == "row slot 0 has no page for some position of 26 to 41 in KV group 0");
  next.page_appends = {0, 0, 1, 2};
  CHECK(failure(*executor, next).empty());
  // A reset forgets the table and the token to repeat.
  StepInputs reset = row_step(0, 0, {kFromPreviousStep}, RowWant::nothing);
  reset.row_updates = {{0, {}, {}}};
  CHECK(failure(*executor, reset).find("no page") != std::string::npos);
  reset.page_appends = {0, 0, 0, 1};
  CHECK(failure(*executor, reset) == "row slot 0 has sampled no token that could be repeated");
}

static void a_page_that_32_bits_do_not_count_is_refused() {
  Plan plan = windowed_plan(0);
  plan.kv_groups[0].page_bytes = (int64_t{1} << 32) - 16;
  const auto said = [&] { return failure([&] { validate_plan(plan, {4, 64, 64}); }); };
  CHECK(said().empty());
  plan.kv_groups[0].page_bytes += 16;
  CHECK(said().find("pageBytes is 4294967296") != std::string::npos);
}

static void the_step_thread_answers_in_order_and_reports_failures() {
  std::vector<int32_t> order;
  std::vector<std::string> errors;
  {
    StepThread thread(
        "kvant-step",
        [](StepJob& job, const std::function<void()>& aside) {
          if (job.inputs.row_slots[0] % 2 == 1 && aside) aside();
          if (job.inputs.row_slots[0] == 2) throw invalid("two is refused");
        },
        [&](std::unique_ptr<StepJob> job) {
          order.push_back(job->inputs.row_slots[0]);
          errors.push_back(job->error);
        });
    for (int32_t i = 0; i < 4; i++) {
      auto job = std::make_unique<StepJob>();
      job->inputs.row_slots = {i};
      thread.submit(std::move(job));
    }
  }
  CHECK((order == std::vector<int32_t>{0, 1, 2, 3}));
  CHECK((errors == std::vector<std::string>{"", "", "two is refused", ""}));
}

static void an_answer_is_given_while_the_next_step_runs() {
  std::atomic<int32_t> answered{-1};
  std::atomic<bool> both_queued{false};
  std::vector<int32_t> heard;
  {
    StepThread thread(
        "kvant-step",
        [&](StepJob& job, const std::function<void()>& aside) {
          while (!both_queued) std::this_thread::yield();
          if (aside) aside();
          heard.push_back(job.inputs.row_slots[0] == 0 ? 0 : answered.load());
        },
        [&](std::unique_ptr<StepJob> job) { answered = job->inputs.row_slots[0]; });
    for (int32_t i = 0; i < 2; i++) {
      auto job = std::make_unique<StepJob>();
      job->inputs.row_slots = {i};
      thread.submit(std::move(job));
    }
    both_queued = true;
  }
  CHECK((heard == std::vector<int32_t>{0, 0}));
  CHECK(answered == 1);
}

int main() {
  an_answer_is_given_while_the_next_step_runs();
  for (Tier tier : present_tiers()) chunks_threads_and_neighbours_change_no_bit(tier_name(tier));
  pages_past_the_window_may_be_missing();
  a_page_that_32_bits_do_not_count_is_refused();
  the_step_thread_answers_in_order_and_reports_failures();
  return 0;
}
