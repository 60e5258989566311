#pragma once
// What all warpgroup tensor-core steps of sm_90a (wgmma) share. They run on their own between warpgroup_begin, which makes registers
// visible to them, and warpgroup_wait. KVANT_WARPGROUP is defined where the device being compiled for has them.
#include <cstdint>

namespace kvant::cuda {

// Registers of each thread of a block that has a multiprocessor's to itself, until they go where they are needed (take_registers).
constexpr int launch_registers(int threads) { return 65536 / threads / 8 * 8; }

// A stage of shared memory, one after the other, and the parity of the pass through their ring.
template <int stages, int bytes>
struct Ring {
  int stage = 0, phase = 0;
  uint32_t at = 0;  // where the stage begins
  __device__ __forceinline__ void advance() {
    stage++, at += bytes;
    if (at == stages * bytes) stage = 0, at = 0, phase ^= 1;
  }
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define KVANT_WARPGROUP 1

__device__ __forceinline__ void warpgroup_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void warpgroup_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Until at most `kPending` of the groups committed last still run.
template <int kPending>
__device__ __forceinline__ void warpgroup_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Barriers of 64 bits in shared memory.
__device__ __forceinline__ void init_barrier(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
// Makes those that the thread has set up visible to bulk copies.
__device__ __forceinline__ void publish_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
// Before its memory serves something else.
__device__ __forceinline__ void end_barrier(uint32_t barrier) { asm volatile("mbarrier.inval.shared.b64 [%0];" ::"r"(barrier) : "memory"); }
__device__ __forceinline__ void arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(barrier) : "memory");
}
// Arrives, and holds the phase until so many bytes have come by copy_bulk.
__device__ __forceinline__ void arrive_expecting(uint32_t barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
// Of multiples of 16 bytes. They come as wgmma sees them, without publish_operands.
__device__ __forceinline__ void copy_bulk(uint32_t to, const void* from, int bytes, uint32_t barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to), "l"(from), "r"(bytes), "r"(barrier)
               : "memory");
}
// Until the phase of this parity has completed.
__device__ __forceinline__ void wait_barrier(uint32_t barrier, int parity) {
  asm volatile(
      "{\n.reg .pred done;\nWAIT:\nmbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n@done bra DONE;\nbra WAIT;\nDONE:\n}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}
// All threads of a warpgroup, of which a launch gave `from` registers to each, go on with `to`.
template <int from, int to>
__device__ __forceinline__ void take_registers() {
  if constexpr (to > from) asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(to));
  else asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(to));
}
// Makes the thread's writes to shared memory visible to warpgroup steps.
__device__ __forceinline__ void publish_operands() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// An operand at `shared`: rows of 128 bytes, 8 per 1024 bytes, whose 16-byte vectors are exchanged by the low bits of the row.
// `shared` is a multiple of 1024, plus 32 per step along a row.
__device__ __forceinline__ uint64_t swizzled_operand(uint32_t shared) {
  constexpr uint64_t kRowsOfEight = uint64_t{1024 / 16} << 32, kSwizzle128 = uint64_t{1} << 62;
  return static_cast<uint64_t>((shared & 0x3ffff) >> 4) | uint64_t{1} << 16 | kRowsOfEight | kSwizzle128;
}

// The operand `bytes` behind another one, whose address needs no more than 18 bits with them.
__device__ __forceinline__ uint64_t swizzled_operand_at(uint64_t operand, uint32_t bytes) {
  return (operand & 0xffffffff00000000u) | (static_cast<uint32_t>(operand) + (bytes >> 4));
}

// What asm statements say of a lane's sums d[32], d[48], d[64] or d[128], which come before their other operands; `kind`: "f" or "r".
#define KVANT_NAMES_32                                                     \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define KVANT_NAMES_48 KVANT_NAMES_32 ", " "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define KVANT_NAMES_64 KVANT_NAMES_48 ", " "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define KVANT_NAMES_128                                                                                     \
  KVANT_NAMES_64 ", " "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" ", " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95" ", "                     \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" ", "         \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define KVANT_SUMS_8(kind, d, i)                                                                                      \
  "+" kind(d[i]), "+" kind(d[i + 1]), "+" kind(d[i + 2]), "+" kind(d[i + 3]), "+" kind(d[i + 4]), "+" kind(d[i + 5]), \
      "+" kind(d[i + 6]), "+" kind(d[i + 7])
#define KVANT_SUMS_16(kind, d, i) KVANT_SUMS_8(kind, d, i), KVANT_SUMS_8(kind, d, i + 8)
#define KVANT_SUMS_32(kind, d) KVANT_SUMS_16(kind, d, 0), KVANT_SUMS_16(kind, d, 16)
#define KVANT_SUMS_48(kind, d) KVANT_SUMS_32(kind, d), KVANT_SUMS_16(kind, d, 32)
#define KVANT_SUMS_64(kind, d) KVANT_SUMS_48(kind, d), KVANT_SUMS_16(kind, d, 48)
#define KVANT_SUMS_128(kind, d) \
  KVANT_SUMS_64(kind, d), KVANT_SUMS_16(kind, d, 64), KVANT_SUMS_16(kind, d, 80), KVANT_SUMS_16(kind, d, 96), KVANT_SUMS_16(kind, d, 112)
#endif

}  // namespace kvant::cuda
