#pragma once
#include <string>

namespace kvant::cuda {

// Why no CUDA device can be used, as a sentence; empty when one can.
const std::string& absence();
// The index in `cuda` or `cuda:N`. Throws Error BACKEND_UNAVAILABLE when that device is absent, INVALID_ARGUMENT for other names.
int device_index(const std::string& name);

}  // namespace kvant::cuda
