#pragma once
#include <string>

#include "library_abi.h"

namespace kvant::cuda::linear::library {

// cuBLASLt's functions, opened at the first call; null where it is absent.
const Functions* functions();

// Why it is absent, "" where it is there. KVANT_CUBLASLT=0 leaves it out, KVANT_CUBLASLT=<path> opens that file alone.
const std::string& absence();

}  // namespace kvant::cuda::linear::library
