#pragma once
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

namespace kvant_test {

// Ends the program unless the call succeeded.
inline void succeed(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  std::printf("FAILED %s: %s\n", what, cudaGetErrorString(status));
  std::exit(1);
}

}  // namespace kvant_test
