#include "cuda/launch.cuh"

namespace kvant::cuda {
namespace {

__global__ void probe_kernel() {}

bool find_overlap() {
  cudaFuncAttributes attributes{};
  check(cudaFuncGetAttributes(&attributes, probe_kernel), "reading a kernel's attributes");
  // Code for one architecture carries that; code compiled at load carries the version of its PTX.
  return attributes.ptxVersion >= 90;
}

}  // namespace

bool launches_overlap() {
  static const bool overlap = find_overlap();
  return overlap;
}

}  // namespace kvant::cuda
