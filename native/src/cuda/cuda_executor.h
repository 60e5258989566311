#pragma once
#include <cuda_runtime_api.h>

#include <compare>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <semaphore>
#include <string>
#include <vector>

#include "cpu/page_tables.h"
#include "cuda/device_graph.h"
#include "cuda/device_memory.h"
#include "cuda/device_stream.h"
#include "cuda/device_weight.h"
#include "cuda/host_pages.h"
#include "cuda/op_kernels.h"
#include "cuda/sampler_kernels.h"
#include "cuda/step_kernels.h"
#include "kvant/ops.h"
#include "plan/step_executor.h"

namespace kvant::cuda {

// Runs a plan on a CUDA device. Activations between ops are float32, except where an op's result goes straight into the form
// that the matrix behind it takes, or is bf16 between two ops (result_of). A step reads its inputs from page-locked
// memory and leaves its results there (logits and scores are copied); page tables, sampling state and the token sampled last live
// on the device. Steps of sizes that come again run as graphs: those in which every row brings one token and samples, padded to
// few numbers of rows, and those of as many tokens as a step may have. `start` queues a step while the one before it runs; the
// stream keeps their order.
class CudaExecutor final : public StepExecutor {
 public:
  CudaExecutor(Plan plan, const ExecutorOptions& options);
  ~CudaExecutor() override;

  void load_weight(int64_t index, int64_t row_offset, int64_t rows, Format dtype, const uint8_t* source,
                   size_t source_bytes) override;
  void load_codes(int64_t index, int64_t row_offset, int64_t rows, const CodedSource& source) override;
  void check_complete() const override;
  void warm_up() override;
  void run(const StepInputs& inputs, StepOutputs& outputs, const std::function<void()>& aside = {}) override;
  bool runs_in_two_parts() const override { return true; }
  void start(const StepInputs& inputs, StepOutputs& outputs) override;
  void finish(StepOutputs& outputs) override;
  void write_buffer(int64_t index, const float* values, size_t count) override;
  void read_buffer(int64_t index, int64_t rows, float* to, size_t count) const override;
  void gather(int64_t index, int64_t rows, CudaCalibration& into) const override;
  std::vector<uint8_t> read_page(int64_t group, int64_t page) const override;
  const Plan& plan() const override { return plan_; }
  const PlanLimits& limits() const override { return limits_; }
  std::vector<std::string> variants() const override;
  ExecutorMemory memory() const override;

 private:
  struct KvGroup {
    DeviceMemory pages, tables, statics;
    HostPages host_pages;
    PageTables host_tables;  // what the device's tables hold, to check a step before it runs
    KvPages view;
  };
  struct Rope {
    DeviceMemory cos, sin;  // [context, head_dim / 2]
  };
  // Device memory of a slot's lists; replaced when a row brings longer ones.
  struct SlotLists {
    DeviceMemory bias_ids, biases, suppressed_ids;
  };
  // What a started step needs of the host until it has ended.
  struct Bank {
    PinnedMemory packet, results;
    DeviceEvent started, ended;
  };
  struct StartedStep {
    Bank* bank;
    size_t rows;
    std::vector<int64_t> sampled;  // the step's row of each sampled row
  };
  // What launches depend on; padded for graphs.
  struct Launch {
    int64_t tokens = 0, logit_rows = 0, sampled_rows = 0;
    StepRows rows = StepRows::any;
    auto operator<=>(const Launch&) const = default;
  };

  // cuda_executor.cc
  void allocate_buffers();
  void allocate_kv();
  void fill_ropes();
  void allocate_scratch();
  void allocate_row_states();
  // Gives back what loading took once every weight is complete.
  void end_load();
  const BufferSpec& buffer_spec(int64_t index) const;
  float* buffer(int64_t index) const;
  RopeTables rope_tables(int index) const;
  const float* optional_vector(int index) const;

  // cuda_executor_step.cc
  void apply_updates(const StepInputs& inputs);
  void apply_update(const RowUpdate& update);
  void check_pages(const StepInputs& inputs);
  void swap_pages(const StepInputs& inputs);
  void copy_pages(const StepInputs& inputs);
  // at_least: what rows and sizes the launches are for; padding makes up for what is missing.
  Launch pack(const StepInputs& inputs, const Launch& at_least, Bank& bank);
  void give_up();
  void run_ops(size_t begin, size_t end, const Launch& launch);
  void sample(const Launch& launch);
  void queue(const StepInputs& inputs, StepOutputs& outputs, Bank& bank);
  void download(StepOutputs& outputs, Bank& bank);
  StartedStep take_oldest();

  // cuda_executor_runs.cc
  static StepRows rows_of(const StepInputs& inputs);
  // The sizes of the graph that such a step runs as.
  std::optional<Launch> graph_of(const StepInputs& inputs) const;
  Launch decode_graph_of(int64_t rows) const;
  Launch full_graph_of(int64_t sampled, StepRows rows) const;
  int64_t most_sampled_rows() const;
  int64_t most_graph_rows() const;
  void run_eagerly(const Launch& launch);
  void run_graph(const Launch& launch);
  void record(const Launch& launch, std::optional<DeviceGraph>& graph);

  // cuda_executor_ops.cc
  void run_op(const EmbedOp& op, size_t index, const Launch& launch);
  void run_op(const RmsNormOp& op, size_t index, const Launch& launch);
  void run_op(const LinearOp& op, size_t index, const Launch& launch);
  void run_op(const AddOp& op, size_t index, const Launch& launch);
  void run_op(const RopeOp& op, size_t index, const Launch& launch);
  void run_op(const KvWriteOp& op, size_t index, const Launch& launch);
  void run_op(const QkvStoreOp& op, size_t index, const Launch& launch);
  void run_op(const AttentionOp& op, size_t index, const Launch& launch);
  void run_op(const GatedMulOp& op, size_t index, const Launch& launch);
  void run_op(const GatherRowsOp& op, size_t index, const Launch& launch);

  // cuda_executor_takers.cc
  void find_hand_overs();
  // Whether the buffer that an op writes goes to the op behind it alone, which reads `read`.
  bool is_passed(int out, int read) const;
  int find_taker(size_t index) const;
  bool may_store_behind(size_t index) const;
  Result find_hand_over(size_t index) const;
  // The matrix that takes the `count` rows of op `index` in its own form, or null.
  const CudaMatrix* taker_of(size_t index, int64_t count) const;
  bool arrives_prepared(size_t index, int64_t count) const { return index > 0 && taker_of(index - 1, count) != nullptr; }
  // How op `index` leaves its result in such a launch.
  Result result_of(size_t index, const Launch& launch) const;
  // What of the store op `index` the attention op behind it does in such a launch.
  QkvWork work_behind(size_t index, const Launch& launch) const;
  QkvStoreArgs store_args(const QkvStoreOp& op) const;
  int64_t row_count(int buffer_index, const Launch& launch) const;
  AttentionShape attention_shape(const AttentionOp& op) const;
  StepTokens tokens_of(const Launch& launch) const;

  const Plan plan_;
  const PlanLimits limits_;
  const CudaMatrixOptions matrix_options_;
  const DeviceStream stream_;

  std::vector<DeviceWeight> weights_;
  LoadStaging staging_;
  std::vector<DeviceMemory> slots_;  // activation memory by slot
  std::vector<Rope> ropes_;
  std::vector<KvGroup> kv_groups_;
  DeviceMemory workspace_;  // of one linear op
  DeviceMemory attention_scratch_, sampler_scratch_;
  AttentionMode attention_mode_;
  std::vector<int> readers_;          // [buffers] how often ops read each
  std::vector<int> takers_;           // [ops] the weight whose matrix may take the op's result in its own form, or kAbsent
  std::vector<bool> stored_behind_;   // [ops] a store op that the attention op behind it may do
  std::vector<Result> hand_overs_;    // [ops] how the op may leave its result

  // Row states; the host keeps what it must know to refuse a step.
  DeviceMemory samplings_, in_prompt_, output_counts_, output_lengths_, last_sampled_;
  RowStates states_;
  std::vector<SlotLists> slot_lists_;  // [max_rows]
  std::vector<bool> has_sampled_;      // [max_rows]

  // The step in progress. Results begin with the step's saturations.
  static constexpr size_t kRowResultsAt = 16;
  DeviceMemory group_tables_, step_memory_, results_, scores_, score_rows_;
  StepArrays arrays_;
  StepPacket layout_;
  std::vector<int64_t> sampled_outputs_;  // the step's row of each sampled row
  std::vector<int64_t> kept_;             // logit rows that go to the host
  std::vector<int32_t> scored_;           // logit rows, then their targets
  std::map<Launch, std::optional<DeviceGraph>> graphs_;  // none until such a step has run once, which loads its kernels

  // Parts of the eager steps started last.
  static constexpr size_t kParts = 8, kPartsAhead = 4;
  DeviceEvent part_ended_[kPartsAhead];
  size_t parts_started_ = 0;

  // Started steps, oldest first; `start` and `finish` run on threads of their own.
  Bank banks_[kMostStarted];
  std::counting_semaphore<kMostStarted> free_banks_{kMostStarted};
  int next_bank_ = 0;
  std::mutex started_mutex_;
  std::deque<StartedStep> started_;
};

}  // namespace kvant::cuda
