#include "cuda/device.h"

#include <cuda_runtime_api.h>

#include <cstdlib>

#include "cuda/check.h"
#include "cuda/cuda_executor.h"
#include "cuda/device_memory.h"
#include "cuda/launch.cuh"
#include "kvant/cuda.h"
#include "kvant/cuda/linear.h"

namespace kvant {
namespace cuda {
namespace {

// Tuned for 9.0; below 8.0 there are neither bf16 instructions nor asynchronous copies.
constexpr int kLeastMajor = 8;

std::string find_absence() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    int driver = 0;
    cudaDriverGetVersion(&driver);
    if (driver == 0) return "this machine has no NVIDIA driver (libcuda.so.1 was not found)";
    return "the NVIDIA driver is too old: it supports CUDA " + std::to_string(driver / 1000) + "." +
           std::to_string(driver % 1000 / 10) + ", this build needs " + std::to_string(CUDART_VERSION / 1000) + ".0";
  }
  if (status != cudaSuccess) return std::string(cudaGetErrorName(status)) + ": " + cudaGetErrorString(status);
  if (count == 0) return "the NVIDIA driver sees no device";
  return "";
}

}  // namespace

const std::string& absence() {
  static const std::string sentence = find_absence();
  return sentence;
}

int device_index(const std::string& name) {
  if (name != "cuda" && name.rfind("cuda:", 0) != 0) throw invalid("no device is called \"" + name + "\"");
  if (!absence().empty()) throw Error("BACKEND_UNAVAILABLE", "device " + name + " is absent: " + absence());
  int index = 0, count = 0;
  if (name != "cuda") {
    char* end = nullptr;
    const long parsed = std::strtol(name.c_str() + 5, &end, 10);
    if (end == name.c_str() + 5 || *end != '\0' || parsed < 0 || parsed > 4095) throw invalid("no device is called \"" + name + "\"");
    index = static_cast<int>(parsed);
  }
  check(cudaGetDeviceCount(&count), "counting devices");
  if (index >= count) {
    throw Error("BACKEND_UNAVAILABLE", "device " + name + " is absent: the driver sees " + std::to_string(count));
  }
  int major = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index), "reading the compute capability");
  if (major < kLeastMajor) {
    throw Error("BACKEND_UNAVAILABLE", "device " + name + " has compute capability " + std::to_string(major) + ".x; the kernels need 8.0");
  }
  return index;
}

}  // namespace cuda

const char* cuda_absent() { return cuda::absence().empty() ? nullptr : cuda::absence().c_str(); }

const char* cublaslt_absent() { return cuda::cublaslt_absence().empty() ? nullptr : cuda::cublaslt_absence().c_str(); }

std::string cuda_device_name(const std::string& device) {
  cudaDeviceProp properties;
  cuda::check(cudaGetDeviceProperties(&properties, cuda::device_index(device)), "reading the device's properties");
  return std::string(properties.name) + ", sm_" + std::to_string(properties.major) + std::to_string(properties.minor);
}

DeviceMemoryState cuda_memory(const std::string& device) {
  cuda::check(cudaSetDevice(cuda::device_index(device)), "selecting the device");
  DeviceMemoryState state;
  cuda::check(cudaMemGetInfo(&state.free, &state.total), "reading the device's free memory");
  state.peak = cuda::peak_device_bytes();
  return state;
}

std::unique_ptr<StepExecutor> make_cuda_executor(Plan plan, const ExecutorOptions& options) {
  cuda::check(cudaSetDevice(cuda::device_index(options.device)), "selecting the device");
  if (!cuda::holds_code_for_device()) {
    throw Error("BACKEND_UNAVAILABLE", "this addon holds no code for " + cuda_device_name(options.device) +
                                           ": it was built for 9.0 alone (`npm run build:release` in native/ adds portable code)");
  }
  return std::make_unique<cuda::CudaExecutor>(std::move(plan), options);
}

}  // namespace kvant
