#pragma once
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "library_call.h"

namespace kvant::cuda::linear::library {

// Throws Error NATIVE_FAILED "cuBLASLt: <what> answered <status>" unless the call succeeded.
void succeed(Status status, const char* what);

// The library's description of a problem. It thinks in columns: y^T [rows, tokens] = w [rows, cols] * x^T [cols, tokens].
class Description {
 public:
  explicit Description(const Problem& problem);
  ~Description();
  Description(const Description&) = delete;

  void set_scales(const float* w_scales, const float* x_scales);
  // The library's kernels for it, what it would take first at the front.
  std::vector<Algorithm> find_algorithms(Handle handle, int most) const;
  bool takes(Handle handle, const Algorithm& algorithm) const;
  Status multiply(Handle handle, const Operands& operands, const Algorithm& algorithm, void* workspace, cudaStream_t stream) const;

 private:
  template <class Value>
  void set(OperationAttribute attribute, Value value);

  bool integers_, adds_;
  Operation operation_ = nullptr;
  MatrixShape w_ = nullptr, x_ = nullptr, y_ = nullptr;
};

struct Tuned {
  int tokens;
  Algorithm algorithm;
};

// What is known on a device; lives as long as the process.
struct Session {
  Handle handle = nullptr;
  std::mutex mutex;                                        // of the maps
  std::map<Problem, std::optional<Algorithm>> algorithms;  // none: the library has no kernel
  std::map<std::pair<int, int>, std::vector<Tuned>> tuned;  // by rows and cols, ascending tokens
};

// The current device's.
Session& session();

}  // namespace kvant::cuda::linear::library
