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

bool holds_code_for_device() {
  cudaFuncAttributes attributes{};
  const cudaError_t status = cudaFuncGetAttributes(&attributes, probe_kernel);
  if (status == cudaSuccess) return true;
  cudaGetLastError();
  if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorUnsupportedPtxVersion) return false;
  check(status, "reading a kernel's attributes");
  return false;
}

bool launches_overlap() {
  static const bool overlap = find_overlap();
  return overlap;
}

}  // namespace kvant::cuda
