#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "plan/step_executor.h"

namespace kvant {

// Why CUDA cannot be used here, as a sentence; null when it can. The first call asks the driver, the answer stays.
const char* cuda_absent();

// What the CUDA device `device` (cuda or cuda:N) is called, e.g. "NVIDIA H200, sm_90". Throws as make_cuda_executor.
std::string cuda_device_name(const std::string& device);

// Why products do not go through cuBLASLt, as a sentence; null when they do. The first call opens the library.
const char* cublaslt_absent();

struct DeviceMemoryState {
  size_t free = 0;  // bytes that can still be allocated now
  size_t total = 0;
  size_t peak = 0;  // the most that this process has held at one time, on all devices; libraries' own memory does not count
};
// Memory of a device, after the context of this process has been made. Throws as make_cuda_executor.
DeviceMemoryState cuda_memory(const std::string& device);

// Bytes per second at which all multiprocessors together read `bytes` of device memory once, one rate per repeat.
// Throws as make_cuda_executor.
std::vector<double> probe_device_read(const std::string& device, size_t bytes, int64_t repeats);

// Operations per second (a multiply-add is two) of the multipliers of a device on random operands that lie in shared memory
// or registers, one rate per repeat. `kind`: fp64 (tensor cores), fp32 (without), fp16, bf16, int8 or e4m3. Devices without E4M3
// multipliers decode those codes to 16 bit, so they are probed with fp16. Throws as make_cuda_executor, INVALID_ARGUMENT for
// other kinds.
std::vector<double> probe_device_matmul(const std::string& device, const std::string& kind, int64_t repeats);

// Runs a plan on the CUDA device that the options name. Throws Error BACKEND_UNAVAILABLE with the reason when it is absent,
// OUT_OF_MEMORY with the bytes asked for, OP_UNSUPPORTED for a scheme without kernels.
std::unique_ptr<StepExecutor> make_cuda_executor(Plan plan, const ExecutorOptions& options);

}  // namespace kvant
