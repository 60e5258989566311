#pragma once
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cpu/executor_weights.h"
#include "cpu/page_memory.h"
#include "cpu/page_tables.h"
#include "kvant/ops.h"
#include "kvant/sampler.h"
#include "kvant/thread_pool.h"
#include "plan/plan.h"
#include "plan/step.h"
#include "plan/step_executor.h"

namespace kvant {

// Runs a plan on the CPU.
class Executor final : public StepExecutor {
 public:
  // Throws Error naming what the plan or the options ask too much of.
  Executor(Plan plan, const ExecutorOptions& options);

  void load_weight(int64_t index, int64_t row_offset, int64_t rows, Format dtype, const uint8_t* source,
                   size_t source_bytes) override;
  void load_codes(int64_t index, int64_t row_offset, int64_t rows, const CodedSource& source) override;
  void check_complete() const override;
  void run(const StepInputs& inputs, StepOutputs& outputs, const std::function<void()>& aside = {}) override;
  void step_handed_in() override { pool_.aside_heard(); }
  void write_buffer(int64_t index, const float* values, size_t count) override;
  void read_buffer(int64_t index, int64_t rows, float* to, size_t count) const override;
  void gather(int64_t index, int64_t rows, CudaCalibration& into) const override;
  std::vector<uint8_t> read_page(int64_t group, int64_t page) const override;
  const Plan& plan() const override { return plan_; }
  const PlanLimits& limits() const override { return limits_; }
  std::vector<std::string> variants() const override;
  ExecutorMemory memory() const override;

 private:
  struct Row {
    Sampling sampling;
    RowHistory history;
    int32_t last_sampled = kFromPreviousStep;
  };
  struct KvGroup {
    PageMemory pages, host_pages;
    PageTables tables;
    KvPages view;
  };
  struct Rope {
    PageMemory cos, sin;  // [context, head_dim / 2]
  };
  // What becomes of a logit row.
  struct LogitUse {
    int64_t logit_row = 0;
    int64_t token = 0;   // of the step
    int64_t output = 0;  // the step's row for samples, the index among logits or scores else
  };

  // executor.cc
  void allocate_buffers();
  void allocate_kv();
  void fill_ropes();
  void allocate_scratch();
  const BufferSpec& buffer_spec(int64_t index) const;
  float* buffer(int64_t index) const;
  RopeTables rope_tables(int index) const;
  const float* optional_vector(int index) const;

  // executor_step.cc
  void apply_updates(const StepInputs& inputs);
  void check_pages(const StepInputs& inputs);
  void swap_pages(const StepInputs& inputs);
  void copy_pages(const StepInputs& inputs);
  void place_tokens(const StepInputs& inputs);
  void assign_logit_rows(const StepInputs& inputs);
  void allocate_outputs(const StepInputs& inputs, StepOutputs& outputs) const;
  void run_ops();
  void sample_rows(const StepInputs& inputs, StepOutputs& outputs);
  void copy_logits(StepOutputs& outputs);
  void score_tokens(const StepInputs& inputs, StepOutputs& outputs);
  const float* logits_of(const LogitUse& use) const;

  // executor_ops.cc
  void run_op(const EmbedOp& op);
  void run_op(const RmsNormOp& op);
  void run_op(const LinearOp& op);
  void run_op(const AddOp& op);
  void run_op(const RopeOp& op);
  void run_op(const KvWriteOp& op);
  void run_op(const QkvStoreOp& op);
  void run_op(const AttentionOp& op);
  void run_op(const GatedMulOp& op);
  void run_op(const GatherRowsOp& op);
  int64_t row_count(int buffer_index) const;

  const Plan plan_;
  const PlanLimits limits_;
  const Tier tier_;
  const OpKernels& kernels_;
  ThreadPool pool_;

  std::vector<LoadedWeight> weights_;
  std::vector<PageMemory> slots_;  // activation memory by slot
  std::vector<Rope> ropes_;
  std::vector<KvGroup> kv_groups_;
  PageMemory prepared_;  // the input of one linear op, prepared
  PageMemory attention_scratch_;
  size_t attention_scratch_stride_ = 0;  // per thread
  std::vector<SamplerScratch> sampler_scratch_;  // [threads]

  std::vector<Row> rows_;  // [max_rows]

  // The step in progress.
  std::vector<int32_t> ids_, positions_, token_slots_;  // [max_tokens]
  StepTokens tokens_;
  std::vector<AttentionTile> tiles_;
  std::vector<int32_t> logit_tokens_;  // [logit rows] the token of each logit row
  std::vector<LogitUse> sampled_, kept_, scored_;
  std::atomic<int64_t> saturations_{0};
  std::optional<std::chrono::steady_clock::time_point> ended_;  // the last step's kernels; empty after a step that failed
};

}  // namespace kvant
