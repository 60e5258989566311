#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/device_memory.h"
#include "plan/page_swaps.h"

namespace kvant::cuda {

// Where pages of one KV group wait while their sequence does not run: page-locked host memory, [page_count, page_bytes].
class HostPages {
 public:
  // Throws Error OUT_OF_MEMORY with the bytes asked for. Page-locking takes 0.37 s per GiB (measured beside an H100), so it
  // happens on load and never in a step.
  HostPages(int64_t page_count, int64_t page_bytes);

  // Moves a run of pages between `device_pages` [device pages, page_bytes] and this memory, in the order of the stream: what
  // earlier work wrote to a page goes out, and later work reads what came in. 55 GB/s for neighbouring pages; a page that comes
  // alone costs 2 to 3 us more.
  void swap(const PageSwapRun& run, uint8_t* device_pages, cudaStream_t stream) const;

 private:
  int64_t page_bytes_;
  PinnedMemory memory_;
};

}  // namespace kvant::cuda
