#include "cuda/device_memory.h"

#include <atomic>

#include "cuda/check.h"

namespace kvant::cuda {
namespace {

// Of this process, on all devices.
std::atomic<size_t> held_bytes{0}, most_held_bytes{0};

void count(size_t bytes) {
  const size_t held = held_bytes += bytes;
  size_t most = most_held_bytes;
  while (most < held && !most_held_bytes.compare_exchange_weak(most, held)) {
  }
}

}  // namespace

size_t peak_device_bytes() { return most_held_bytes; }

DeviceMemory::DeviceMemory(size_t bytes, const std::string& purpose) {
  if (bytes == 0) return;
  const cudaError_t status = cudaMalloc(&data_, bytes);
  if (status != cudaSuccess) {
    cudaGetLastError();  // a refused allocation is not sticky, but stays in the thread's last error
    data_ = nullptr;
    if (status != cudaErrorMemoryAllocation) check(status, "allocating " + purpose);
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw Error("OUT_OF_MEMORY", "the device refused " + std::to_string(bytes) + " bytes for " + purpose + "; " +
                                     std::to_string(free) + " of its " + std::to_string(total) + " bytes are free");
  }
  bytes_ = bytes;
  count(bytes);
  check(cudaMemset(data_, 0, bytes), "clearing " + purpose);
}

DeviceMemory::~DeviceMemory() {
  if (data_ == nullptr) return;
  held_bytes -= bytes_;
  cudaFree(data_);
}

PinnedMemory::PinnedMemory(size_t bytes, const std::string& purpose) {
  if (bytes == 0) return;
  const cudaError_t status = cudaMallocHost(&data_, bytes);
  if (status != cudaSuccess) {
    cudaGetLastError();
    data_ = nullptr;
    if (status != cudaErrorMemoryAllocation) check(status, "allocating " + purpose);
    throw Error("OUT_OF_MEMORY", "the system refused " + std::to_string(bytes) + " page-locked bytes for " + purpose);
  }
  bytes_ = bytes;
}

PinnedMemory::~PinnedMemory() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

}  // namespace kvant::cuda
