#pragma once
#include "library_abi.h"

namespace kvant::cuda::linear::library {

// cuBLASLt's functions, opened at the first call; null where it is absent (cublaslt_absence says why). KVANT_CUBLASLT=0 leaves
// it out, KVANT_CUBLASLT=<path> opens that file alone.
const Functions* functions();

}  // namespace kvant::cuda::linear::library
