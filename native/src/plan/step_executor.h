#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "plan/plan.h"
#include "plan/step.h"
#include "plan/weight_rows.h"

namespace kvant {

class CudaCalibration;

struct ExecutorOptions {
  PlanLimits limits;
  int threads = 1;             // cpu
  std::string tier;            // cpu; empty: as choose_tier
  std::string device = "cpu";  // cpu, cuda or cuda:N
  bool deterministic = false;  // cuda: batch-invariant kernels only; the CPU's always are
};

struct ExecutorMemory {
  std::vector<size_t> weights;  // [plan.weights]
  size_t kv = 0;
  size_t activations = 0;
};

// Runs a plan on one device. Everything but the outputs of a step is allocated on construction and when weights load. Not
// thread-safe: one caller at a time, and `run` only when all weights are complete.
class StepExecutor {
 public:
  virtual ~StepExecutor() = default;

  virtual void load_weight(int64_t index, int64_t row_offset, int64_t rows, Format dtype, const uint8_t* source,
                           size_t source_bytes) = 0;
  virtual void load_codes(int64_t index, int64_t row_offset, int64_t rows, const CodedSource& source) = 0;
  // Throws Error INVALID_ARGUMENT naming the first weight with rows that were never loaded.
  virtual void check_complete() const = 0;

  // Does once, with no row in any step, what steps would do when a size comes first: load kernels, make graphs. Only between steps,
  // when all weights are complete.
  virtual void warm_up() {}

  // Runs a step that validate_step has accepted. Throws Error INVALID_ARGUMENT when a row has no page for a position that it
  // reads or writes, or no token to repeat; row updates and page appends are in force then, nothing else is.
  // `aside`, where not empty, is the caller's work that may run beside the kernels, on any thread; it is called at most once.
  virtual void run(const StepInputs& inputs, StepOutputs& outputs, const std::function<void()>& aside) = 0;
  // Whom an aside told of a step has handed in the next. From any thread, also while a step runs.
  virtual void step_handed_in() {}

  // Executors that queue work for a device run a step in two parts, so that one step is prepared while another runs: `start`
  // returns when the step is queued (and waits while kMostStarted others are), `finish` when the oldest started step has ended.
  // Each has a thread of its own; a step whose `start` threw is not finished.
  static constexpr int kMostStarted = 2;
  virtual bool runs_in_two_parts() const { return false; }
  virtual void start(const StepInputs&, StepOutputs&) {}
  virtual void finish(StepOutputs&) {}

  // [count] floats to the first rows of a buffer.
  virtual void write_buffer(int64_t index, const float* values, size_t count) = 0;
  // The first `rows` rows of a buffer, to room for `count` floats, which must be as many.
  virtual void read_buffer(int64_t index, int64_t rows, float* to, size_t count) const = 0;
  // Adds the first `rows` rows of a buffer to statistics on the same device. Throws Error OP_UNSUPPORTED where buffers lie in the
  // machine's own memory.
  virtual void gather(int64_t index, int64_t rows, CudaCalibration& into) const = 0;
  // [page_bytes] of the group's layout.
  virtual std::vector<uint8_t> read_page(int64_t group, int64_t page) const = 0;

  virtual const Plan& plan() const = 0;
  virtual const PlanLimits& limits() const = 0;
  // The kernel variant of each op.
  virtual std::vector<std::string> variants() const = 0;
  virtual ExecutorMemory memory() const = 0;
};

}  // namespace kvant
