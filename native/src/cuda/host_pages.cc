#include "cuda/host_pages.h"

#include "cuda/check.h"

namespace kvant::cuda {

HostPages::HostPages(int64_t page_count, int64_t page_bytes)
    : page_bytes_(page_bytes), memory_(static_cast<size_t>(page_count * page_bytes), "swapped KV pages") {}

void HostPages::swap(const PageSwapRun& run, uint8_t* device_pages, cudaStream_t stream) const {
  uint8_t* const device = device_pages + run.device_page * page_bytes_;
  uint8_t* const host = memory_.as<uint8_t>() + run.host_page * page_bytes_;
  const auto bytes = static_cast<size_t>(run.count * page_bytes_);
  if (run.direction == SwapDirection::out) {
    check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream), "swapping pages out");
  } else {
    check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream), "swapping pages in");
  }
}

}  // namespace kvant::cuda
