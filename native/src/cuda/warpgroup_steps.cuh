#pragma once
// Around the warpgroup tensor-core steps of sm_90a (wgmma): they run on their own between warpgroup_begin, which makes registers
// visible to them, and warpgroup_wait. KVANT_WARPGROUP is defined where the device being compiled for has them.
#include <cstdint>

namespace kvant::cuda {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define KVANT_WARPGROUP 1

__device__ __forceinline__ void warpgroup_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void warpgroup_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Until at most `kPending` of the groups committed last still run.
template <int kPending>
__device__ __forceinline__ void warpgroup_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// An operand at `shared`: rows of 128 bytes, 8 per 1024 bytes, whose 16-byte vectors are exchanged by the low bits of the row.
// `shared` is a multiple of 1024, plus 32 per step along a row.
__device__ __forceinline__ uint64_t swizzled_operand(uint32_t shared) {
  constexpr uint64_t kRowsOfEight = uint64_t{1024 / 16} << 32, kSwizzle128 = uint64_t{1} << 62;
  return static_cast<uint64_t>((shared & 0x3ffff) >> 4) | uint64_t{1} << 16 | kRowsOfEight | kSwizzle128;
}
#endif

}  // namespace kvant::cuda
