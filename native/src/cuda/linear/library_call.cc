#include "library_call.h"

#include <bit>
#include <memory>
#include <string>

#include "../check.h"
#include "library_loader.h"
#include "library_session.h"
#include "plan/error.h"

namespace kvant::cuda::linear::library {
namespace {

cudaDataType_t type_of(Numbers numbers) {
  switch (numbers) {
    case Numbers::fp32: return CUDA_R_32F;
    case Numbers::bf16: return CUDA_R_16BF;
    case Numbers::fp16: return CUDA_R_16F;
    case Numbers::e4m3: return CUDA_R_8F_E4M3;
    default: return CUDA_R_8I;
  }
}

// The kernel that was tuned for this number of tokens or the next larger one.
std::optional<Algorithm> find_tuned(const Session& session, const Problem& problem, const Description& description) {
  const auto shape = session.tuned.find({problem.rows, problem.cols});
  if (problem.numbers != Numbers::int8 || shape == session.tuned.end()) return std::nullopt;
  for (const Tuned& tuned : shape->second) {
    if (tuned.tokens >= problem.tokens && description.takes(session.handle, tuned.algorithm)) return tuned.algorithm;
  }
  return std::nullopt;
}

std::optional<Algorithm> first_choice(const Session& session, const Description& description) {
  const std::vector<Algorithm> found = description.find_algorithms(session.handle, 1);
  return found.empty() ? std::nullopt : std::optional(found.front());
}

// Steps of many tokens seldom bring the same number twice, and to ask which kernel is best takes longer than to launch it: so the
// one for the next of kPerDoubling numbers between powers of two serves where it can.
constexpr int kMostExactTokens = 256, kPerDoubling = 16;

std::optional<Algorithm> find_nearby(Session& session, const Problem& problem, const Description& description) {
  if (problem.tokens <= kMostExactTokens) return std::nullopt;
  const int unit = static_cast<int>(std::bit_floor(static_cast<unsigned>(problem.tokens))) / kPerDoubling;
  Problem nearby = problem;
  nearby.tokens = (problem.tokens + unit - 1) / unit * unit;
  if (nearby.tokens == problem.tokens) return std::nullopt;
  auto known = session.algorithms.find(nearby);
  if (known == session.algorithms.end()) known = session.algorithms.emplace(nearby, first_choice(session, Description(nearby))).first;
  return known->second && description.takes(session.handle, *known->second) ? known->second : std::nullopt;
}

std::optional<Algorithm> look_up(Session& session, const Problem& problem, const Description& description) {
  const std::lock_guard<std::mutex> lock(session.mutex);
  const auto known = session.algorithms.find(problem);
  if (known != session.algorithms.end()) return known->second;
  std::optional<Algorithm> algorithm = find_tuned(session, problem, description);
  if (!algorithm) algorithm = find_nearby(session, problem, description);
  if (!algorithm) algorithm = first_choice(session, description);
  session.algorithms.emplace(problem, algorithm);
  return algorithm;
}

}  // namespace

void succeed(Status status, const char* what) {
  if (status != kSuccess) throw Error("NATIVE_FAILED", std::string("cuBLASLt: ") + what + " answered " + std::to_string(status));
}

Description::Description(const Problem& problem) : integers_(problem.numbers == Numbers::int8), adds_(problem.result == Result::added) {
  const Functions& f = *functions();
  const cudaDataType_t sums = integers_ ? CUDA_R_32I : CUDA_R_32F;
  succeed(f.operation_create(&operation_, integers_ ? Compute::int32 : Compute::fp32, sums), "creating an operation");
  set(OperationAttribute::transpose_a, kTransposed);
  if (problem.numbers == Numbers::e4m3) {
    // Fast accumulation would leave some 14 bits to a sum over all columns: with terms of one sign, 7 % of it is lost at 4096
    // columns and 22 % at 14336. Without, sums of few columns are added in float32, and the loss is 6e-4 at any length.
    set(OperationAttribute::fast_accumulation, int8_t{0});
  }
  if (problem.scaled) {
    set(OperationAttribute::a_scale_mode, ScaleMode::per_row);
    set(OperationAttribute::b_scale_mode, ScaleMode::per_row);
    static constexpr float kPlaceholder = 1;  // asked about kernels before there are scales
    set_scales(&kPlaceholder, &kPlaceholder);
  }
  const auto cols = static_cast<uint64_t>(problem.cols), rows = static_cast<uint64_t>(problem.rows), tokens = static_cast<uint64_t>(problem.tokens);
  succeed(f.shape_create(&w_, type_of(problem.numbers), cols, rows, problem.cols), "describing weights");
  succeed(f.shape_create(&x_, type_of(problem.numbers), cols, tokens, problem.cols), "describing activations");
  succeed(f.shape_create(&y_, problem.result == Result::bf16 ? CUDA_R_16BF : sums, rows, tokens, problem.stride), "describing a result");
}

Description::~Description() {
  const Functions& f = *functions();
  if (operation_ != nullptr) f.operation_destroy(operation_);
  for (MatrixShape shape : {w_, x_, y_}) {
    if (shape != nullptr) f.shape_destroy(shape);
  }
}

template <class Value>
void Description::set(OperationAttribute attribute, Value value) {
  succeed(functions()->operation_set(operation_, attribute, &value, sizeof value), "setting an attribute");
}

void Description::set_scales(const float* w_scales, const float* x_scales) {
  set(OperationAttribute::a_scale_pointer, w_scales);
  set(OperationAttribute::b_scale_pointer, x_scales);
}

std::vector<Algorithm> Description::find_algorithms(Handle handle, int most) const {
  const Functions& f = *functions();
  Preference preference = nullptr;
  succeed(f.preference_create(&preference), "creating a preference");
  f.preference_set(preference, PreferenceAttribute::workspace_bytes, &kCallWorkspace, sizeof kCallWorkspace);
  std::vector<Candidate> candidates(static_cast<size_t>(most));
  int found = 0;
  const Status status = f.candidates(handle, operation_, w_, x_, y_, y_, preference, most, candidates.data(), &found);
  f.preference_destroy(preference);
  std::vector<Algorithm> algorithms;
  for (int i = 0; status == kSuccess && i < found; i++) {
    const Candidate& candidate = candidates[static_cast<size_t>(i)];
    if (candidate.status == kSuccess) algorithms.push_back(candidate.algorithm);
  }
  return algorithms;
}

bool Description::takes(Handle handle, const Algorithm& algorithm) const {
  Candidate answer{};
  return functions()->check(handle, operation_, w_, x_, y_, y_, &algorithm, &answer) == kSuccess && answer.workspace_bytes <= kCallWorkspace;
}

Status Description::multiply(Handle handle, const Operands& operands, const Algorithm& algorithm, void* workspace, cudaStream_t stream) const {
  static constexpr float kOne = 1, kZero = 0;
  static constexpr int kOneInteger = 1, kZeroInteger = 0;
  const void* const one = integers_ ? static_cast<const void*>(&kOneInteger) : &kOne;
  const void* const zero = integers_ ? static_cast<const void*>(&kZeroInteger) : &kZero;
  return functions()->multiply(handle, operation_, one, operands.w, w_, operands.x, x_, adds_ ? one : zero, operands.y, y_, operands.y, y_, &algorithm,
                               workspace, kCallWorkspace, stream);
}

Session& session() {
  static std::mutex mutex;
  static auto& sessions = *new std::map<int, Session>();
  int device = 0;
  check(cudaGetDevice(&device), "linear: current device");
  const std::lock_guard<std::mutex> lock(mutex);
  Session& here = sessions[device];
  if (here.handle == nullptr) succeed(functions()->create(&here.handle), "creating a handle");
  return here;
}

bool can_multiply(const Problem& problem) {
  return functions() != nullptr && look_up(session(), problem, Description(problem)).has_value();
}

void multiply(const Problem& problem, const Operands& operands, void* workspace, cudaStream_t stream) {
  Description description(problem);
  if (problem.scaled) description.set_scales(operands.w_scales, operands.x_scales);
  Session& here = session();
  const std::optional<Algorithm> algorithm = look_up(here, problem, description);
  if (!algorithm) {
    throw Error("NATIVE_FAILED", "cuBLASLt has no kernel for " + std::to_string(problem.tokens) + " tokens times " + std::to_string(problem.rows) +
                                     " x " + std::to_string(problem.cols));
  }
  succeed(description.multiply(here.handle, operands, *algorithm, workspace, stream), "a product");
}

}  // namespace kvant::cuda::linear::library
