#pragma once
// Blocks of one cluster (compute capability 9.0) agree on a number through each other's shared memory.
#include <cstdint>

namespace kvant::cuda {

constexpr unsigned kRowCluster = 8;

// All threads of the blocks that are going to call cluster_most, as early as may be: a block's shared memory is not to be written
// before the block runs.
__device__ inline void enter_cluster() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}

// All threads of all blocks of a cluster meet, and what one wrote before is there for the others.
__device__ inline void meet_cluster() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

// The largest `value`, none negative, over the kRowCluster blocks of a cluster. One thread per block brings the block's value in
// and all threads get the answer. `shared`: [kRowCluster] of the block, written by its neighbours.
__device__ inline float cluster_most(float value, float* shared) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
  if (threadIdx.x < kRowCluster) {
    const uint32_t mine = static_cast<uint32_t>(__cvta_generic_to_shared(shared + rank));
    uint32_t theirs;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(theirs) : "r"(mine), "r"(threadIdx.x));
    asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(theirs), "f"(value) : "memory");
  }
  meet_cluster();  // no block leaves before its neighbours have written to it
  float most = 0;
#pragma unroll
  for (unsigned i = 0; i < kRowCluster; i++) most = fmaxf(most, shared[i]);
  return most;
#else
  __trap();  // launchers ask launches_overlap() first
  return value;
#endif
}

}  // namespace kvant::cuda
