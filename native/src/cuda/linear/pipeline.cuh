#pragma once
// Barriers in shared memory and copies to it that nobody waits for. On 9.0 one thread starts the copy of a whole run of bytes;
// before, the lanes of the calling warp copy 16 bytes each.
#include <cstdint>

namespace kvant::cuda::linear {

__device__ __forceinline__ uint32_t shared_address(const void* at) { return static_cast<uint32_t>(__cvta_generic_to_shared(at)); }

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
constexpr bool kBulkCopies = true;
#else
constexpr bool kBulkCopies = false;
#endif

__device__ __forceinline__ void init_barrier(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Makes initialized barriers known to bulk copies; before the block's first __syncthreads.
__device__ __forceinline__ void publish_barriers() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

__device__ __forceinline__ void arrive(uint32_t barrier) {
  asm volatile("{\n .reg .b64 state;\n mbarrier.arrive.shared::cta.b64 state, [%0];\n}" ::"r"(barrier) : "memory");
}

// Returns once the phase of that parity has ended.
__device__ __forceinline__ void wait_barrier(uint32_t barrier, uint32_t parity) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile(
      "{\n .reg .pred done;\n"
      "again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      " @!done bra again;\n}" ::"r"(barrier), "r"(parity) : "memory");
#else
  uint32_t done = 0;
  while (!done) {
    asm volatile("{\n .reg .pred done;\n mbarrier.test_wait.parity.shared::cta.b64 done, [%1], %2;\n selp.u32 %0, 1, 0, done;\n}"
                 : "=r"(done) : "r"(barrier), "r"(parity) : "memory");
  }
#endif
}

// Arrivals that one warp's copies of one kind make: begin_copies, copy_run any number of times by all lanes, end_copies.
constexpr int kCopyArrivals = kBulkCopies ? 1 : 32;

// `bytes`: of all copies until end_copies.
__device__ __forceinline__ void begin_copies(uint32_t barrier, uint32_t bytes, int lane) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  if (lane == 0) asm volatile("{\n .reg .b64 state;\n mbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1;\n}" ::"r"(barrier), "r"(bytes) : "memory");
  __syncwarp();
#endif
}

// Runs [0, runs) of `bytes` bytes each, 16-byte aligned like their strides; run i by lane i % 32.
__device__ __forceinline__ void copy_runs(uint32_t to, int to_stride, const uint8_t* from, size_t from_stride, int runs, uint32_t bytes,
                                          uint32_t barrier, int lane) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  for (int i = lane; i < runs; i += 32) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to + i * to_stride),
                 "l"(from + i * from_stride), "r"(bytes), "r"(barrier)
                 : "memory");
  }
#else
  for (int i = 0; i < runs; i++) {
    for (uint32_t at = lane * 16; at < bytes; at += 512) {
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to + i * to_stride + at), "l"(from + i * from_stride + at) : "memory");
    }
  }
#endif
}

__device__ __forceinline__ void end_copies(uint32_t barrier) {
#if !(defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900)
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
#endif
}

}  // namespace kvant::cuda::linear
