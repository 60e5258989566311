#pragma once
#include <memory>

#include "plan/step_executor.h"

namespace kvant {

// Why CUDA cannot be used here, as a sentence; null when it can. The first call asks the driver, the answer stays.
const char* cuda_absent();

// What the CUDA device `device` (cuda or cuda:N) is called, e.g. "NVIDIA H200, sm_90". Throws as make_cuda_executor.
std::string cuda_device_name(const std::string& device);

// Runs a plan on the CUDA device that the options name. Throws Error BACKEND_UNAVAILABLE with the reason when it is absent,
// OUT_OF_MEMORY with the bytes asked for, OP_UNSUPPORTED for a scheme without kernels.
std::unique_ptr<StepExecutor> make_cuda_executor(Plan plan, const ExecutorOptions& options);

}  // namespace kvant
