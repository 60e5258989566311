#include "kvant/cuda.h"

namespace kvant {

const char* cuda_absent() { return "built without CUDA: this addon holds the CPU kernels only"; }

}  // namespace kvant
