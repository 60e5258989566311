#pragma once
// Warpgroup tensor-core steps of sm_90a, as attention_prefill.cuh needs them: D[64, columns] (+)= A[64, k] B[columns, k]. A lies
// in shared memory or registers, B in shared memory, in rows of 128 bytes, swizzled by 128 bytes: of numbers of k where A lies there too
// (swizzled_operand), of columns where A is in registers (transposed_operand).
// Lane (g, t) of warp w holds D[16w + g + 8i, 8j + 2t + e] in d[4j + 2i + e].
#include "cuda/attention_mma.cuh"
#include "cuda/warpgroup_steps.cuh"

namespace kvant::cuda {

#ifdef KVANT_WARPGROUP

// 64 columns; k is 16, or 32 for int8. adds false: D starts at 0.
#define KVANT_STEP(name, types, Sum, kind, transposed)                                                                \
  __device__ __forceinline__ void name(Sum(&d)[32], uint64_t a, uint64_t b, bool adds) {                              \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"                                                         \
                 "wgmma.mma_async.sync.aligned.m64n64" types " {" KVANT_NAMES_32 "}, %32, %33, p" transposed ";\n}\n" \
                 : KVANT_SUMS_32(kind, d)                                                                             \
                 : "l"(a), "l"(b), "r"(static_cast<int>(adds)));                                                      \
  }
KVANT_STEP(warpgroup_step_fp16, "k16.f32.f16.f16", float, "f", ", 1, 1, 0, 0")
KVANT_STEP(warpgroup_step_bf16, "k16.f32.bf16.bf16", float, "f", ", 1, 1, 0, 0")
KVANT_STEP(warpgroup_step_int8, "k32.s32.s8.s8", int, "r", "")
#undef KVANT_STEP

// B as blocks of 64 columns, each [k][64 columns] of 16 bits; `block` bytes are between two.
__device__ __forceinline__ uint64_t transposed_operand(uint32_t shared, uint32_t block) {
  return (swizzled_operand(shared) & ~(uint64_t{0x3fff} << 16)) | static_cast<uint64_t>(block >> 4) << 16;
}

// A in registers, as of a warp's 16 x 16 step; always adds. `a_b` names the operands after the sums.
#define KVANT_STEP(name, columns, type, sums, a_b)                                                                  \
  __device__ __forceinline__ void name(float (&d)[sums], const uint32_t (&a)[4], uint64_t b) {                      \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" columns "k16.f32." type "." type " {" KVANT_NAMES_##sums "}, " \
                 a_b ", 1, 1, 1, 1;\n"                                                                              \
                 : KVANT_SUMS_##sums("f", d)                                                                        \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                             \
  }
#define KVANT_STEPS(columns, sums, a_b)                      \
  KVANT_STEP(warpgroup_step_fp16, columns, "f16", sums, a_b) \
  KVANT_STEP(warpgroup_step_bf16, columns, "bf16", sums, a_b)
KVANT_STEPS("64", 32, "{%32, %33, %34, %35}, %36")
KVANT_STEPS("96", 48, "{%48, %49, %50, %51}, %52")
KVANT_STEPS("128", 64, "{%64, %65, %66, %67}, %68")
KVANT_STEPS("256", 128, "{%128, %129, %130, %131}, %132")
#undef KVANT_STEPS
#undef KVANT_STEP
#endif

}  // namespace kvant::cuda
