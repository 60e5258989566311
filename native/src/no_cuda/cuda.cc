#include "kvant/cuda.h"
#include "kvant/cuda/calibration.h"

#include "plan/error.h"

namespace kvant {
namespace {

[[noreturn]] void refuse() { throw Error("BACKEND_UNAVAILABLE", cuda_absent()); }

}  // namespace

const char* cuda_absent() { return "built without CUDA: this addon holds the CPU kernels only"; }

std::string cuda_device_name(const std::string&) { refuse(); }

const char* cublaslt_absent() { return cuda_absent(); }

DeviceMemoryState cuda_memory(const std::string&) { refuse(); }

std::vector<double> probe_device_read(const std::string&, size_t, int64_t) { refuse(); }

std::vector<double> probe_device_matmul(const std::string&, const std::string&, int64_t) { refuse(); }

std::unique_ptr<StepExecutor> make_cuda_executor(Plan, const ExecutorOptions&) { refuse(); }

CodedSizes coded_sizes(const GridFormat&, int64_t, int64_t) { refuse(); }

std::unique_ptr<CudaCalibration> make_cuda_calibration(const CalibrationOptions&) { refuse(); }

}  // namespace kvant
