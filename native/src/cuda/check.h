#pragma once
#include <cuda_runtime_api.h>

#include <string>

#include "plan/error.h"

namespace kvant::cuda {

// Throws Error NATIVE_FAILED "<what>: <CUDA's name and sentence>" unless the call succeeded. After a sticky error (a kernel
// that faulted) every later call answers the same; the sentence then says that the process must be restarted.
void check(cudaError_t status, const std::string& what);

// Throws as `check` when the launch just made was refused. Faults inside a kernel show at the next wait.
inline void check_launch(const char* kernel) { check(cudaGetLastError(), kernel); }

// Whether the error leaves the device context unusable.
bool is_sticky(cudaError_t status);

}  // namespace kvant::cuda
