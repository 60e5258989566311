#include "library_call.h"

#include <map>
#include <mutex>
#include <string>

#include "../check.h"
#include "library_loader.h"
#include "plan/error.h"

namespace kvant::cuda::linear::library {
namespace {

void succeed(Status status, const char* what) {
  if (status != kSuccess) throw Error("NATIVE_FAILED", std::string("cuBLASLt: ") + what + " answered " + std::to_string(status));
}

cudaDataType_t type_of(Numbers numbers) {
  switch (numbers) {
    case Numbers::bf16: return CUDA_R_16BF;
    case Numbers::fp16: return CUDA_R_16F;
    case Numbers::e4m3: return CUDA_R_8F_E4M3;
    default: return CUDA_R_8I;
  }
}

// The library's description of a problem. It thinks in columns: y^T [rows, tokens] = w [rows, cols] * x^T [cols, tokens].
class Description {
 public:
  explicit Description(const Problem& problem) {
    const bool integers = problem.numbers == Numbers::int8;
    const cudaDataType_t sums = integers ? CUDA_R_32I : CUDA_R_32F;
    succeed(f_.operation_create(&operation_, integers ? Compute::int32 : Compute::fp32, sums), "creating an operation");
    set(OperationAttribute::transpose_a, kTransposed);
    if (problem.numbers == Numbers::e4m3) {
      set(OperationAttribute::a_scale_mode, ScaleMode::per_row);
      set(OperationAttribute::b_scale_mode, ScaleMode::per_row);
      // Fast accumulation would leave 14 bits to a sum over all columns: with terms of one sign 7 % of it is lost at 4096 columns,
      // 22 % at 14336. Without, sums of 128 columns are added in float32, and the loss is 6e-4 at any length.
      set(OperationAttribute::fast_accumulation, int8_t{0});
      static constexpr float kPlaceholder = 1;  // asked about kernels before there are scales
      set(OperationAttribute::a_scale_pointer, &kPlaceholder);
      set(OperationAttribute::b_scale_pointer, &kPlaceholder);
    }
    const auto cols = static_cast<uint64_t>(problem.cols), rows = static_cast<uint64_t>(problem.rows), tokens = static_cast<uint64_t>(problem.tokens);
    succeed(f_.shape_create(&w_, type_of(problem.numbers), cols, rows, problem.cols), "describing weights");
    succeed(f_.shape_create(&x_, type_of(problem.numbers), cols, tokens, problem.cols), "describing activations");
    succeed(f_.shape_create(&y_, sums, rows, tokens, problem.stride), "describing a result");
  }
  ~Description() {
    if (operation_ != nullptr) f_.operation_destroy(operation_);
    for (MatrixShape shape : {w_, x_, y_}) {
      if (shape != nullptr) f_.shape_destroy(shape);
    }
  }
  Description(const Description&) = delete;

  template <class Value>
  void set(OperationAttribute attribute, Value value) {
    succeed(f_.operation_set(operation_, attribute, &value, sizeof value), "setting an attribute");
  }

  // What the library would take first; none where it has no kernel.
  std::optional<Algorithm> find_algorithm(Handle handle) const {
    Preference preference = nullptr;
    succeed(f_.preference_create(&preference), "creating a preference");
    f_.preference_set(preference, PreferenceAttribute::workspace_bytes, &kCallWorkspace, sizeof kCallWorkspace);
    Candidate candidate{};
    int found = 0;
    const Status status = f_.candidates(handle, operation_, w_, x_, y_, y_, preference, 1, &candidate, &found);
    f_.preference_destroy(preference);
    return status == kSuccess && found == 1 && candidate.status == kSuccess ? std::optional(candidate.algorithm) : std::nullopt;
  }

  void multiply(Handle handle, const Operands& operands, bool integers, const Algorithm& algorithm, void* workspace, cudaStream_t stream) const {
    static constexpr float kOne = 1, kZero = 0;
    static constexpr int kOneInteger = 1, kZeroInteger = 0;
    const void* const one = integers ? static_cast<const void*>(&kOneInteger) : &kOne;
    const void* const zero = integers ? static_cast<const void*>(&kZeroInteger) : &kZero;
    succeed(f_.multiply(handle, operation_, one, operands.w, w_, operands.x, x_, zero, operands.y, y_, operands.y, y_, &algorithm, workspace,
                        kCallWorkspace, stream),
            "a product");
  }

 private:
  const Functions& f_ = *functions();
  Operation operation_ = nullptr;
  MatrixShape w_ = nullptr, x_ = nullptr, y_ = nullptr;
};

// One per device; lives as long as the process.
struct Session {
  Handle handle = nullptr;
  std::map<Problem, std::optional<Algorithm>> algorithms;
};

// The current device's handle and what serves the problem there.
std::pair<Handle, std::optional<Algorithm>> look_up(const Problem& problem, const Description& description) {
  static std::mutex mutex;
  static auto& sessions = *new std::map<int, Session>();
  int device = 0;
  check(cudaGetDevice(&device), "linear: current device");
  const std::lock_guard<std::mutex> lock(mutex);
  Session& session = sessions[device];
  if (session.handle == nullptr) succeed(functions()->create(&session.handle), "creating a handle");
  const auto known = session.algorithms.find(problem);
  if (known != session.algorithms.end()) return {session.handle, known->second};
  const std::optional<Algorithm> found = description.find_algorithm(session.handle);
  session.algorithms.emplace(problem, found);
  return {session.handle, found};
}

}  // namespace

bool can_multiply(const Problem& problem) {
  if (functions() == nullptr) return false;
  return look_up(problem, Description(problem)).second.has_value();
}

void multiply(const Problem& problem, const Operands& operands, void* workspace, cudaStream_t stream) {
  Description description(problem);
  if (problem.numbers == Numbers::e4m3) {
    description.set(OperationAttribute::a_scale_pointer, operands.w_scales);
    description.set(OperationAttribute::b_scale_pointer, operands.x_scales);
  }
  const auto [handle, algorithm] = look_up(problem, description);
  if (!algorithm) {
    throw Error("NATIVE_FAILED", "cuBLASLt has no kernel for " + std::to_string(problem.tokens) + " tokens times " + std::to_string(problem.rows) +
                                     " x " + std::to_string(problem.cols));
  }
  description.multiply(handle, operands, problem.numbers == Numbers::int8, *algorithm, workspace, stream);
}

}  // namespace kvant::cuda::linear::library
