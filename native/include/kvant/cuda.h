#pragma once

namespace kvant {

// Why CUDA cannot be used here, as a sentence; null when it can.
const char* cuda_absent();

}  // namespace kvant
