#include "kvant/cuda.h"

#include "plan/error.h"

namespace kvant {

const char* cuda_absent() { return "built without CUDA: this addon holds the CPU kernels only"; }

std::string cuda_device_name(const std::string&) { throw Error("BACKEND_UNAVAILABLE", cuda_absent()); }

std::unique_ptr<StepExecutor> make_cuda_executor(Plan, const ExecutorOptions&) {
  throw Error("BACKEND_UNAVAILABLE", cuda_absent());
}

}  // namespace kvant
