// The table of products on warpgroup tensor cores: weight format x operand.
#include "../check.h"
#include "cuda/launch.cuh"
#include "layout.h"

namespace kvant::cuda::linear {

// Each is defined in the file of its name.
extern const WarpgroupProduct warpgroup_int8_bf16, warpgroup_int8_fp16, warpgroup_int8_int8, warpgroup_int4_bf16, warpgroup_int4_fp16,
    warpgroup_int4_int8, warpgroup_e4m3_bf16, warpgroup_e4m3_fp16, warpgroup_e2m1_bf16, warpgroup_e2m1_fp16;

const WarpgroupProduct* find_warpgroup_product(Format weights, Scales scales, Operand operand) {
  int device = 0, major = 0;
  check(cudaGetDevice(&device), "linear: current device");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "linear: compute capability");
  if (major != 9 || !launches_overlap()) return nullptr;
  if (operand == Operand::int8) {
    if (weights == Format::int4) return &warpgroup_int4_int8;
    // Less a zero point, an int8 code is no int8.
    return weights == Format::int8 && scales != Scales::affine ? &warpgroup_int8_int8 : nullptr;
  }
  const bool half = operand == Operand::fp16;
  if (!half && operand != Operand::bf16) return nullptr;
  switch (weights) {
    case Format::int8: return half ? &warpgroup_int8_fp16 : &warpgroup_int8_bf16;
    case Format::int4: return half ? &warpgroup_int4_fp16 : &warpgroup_int4_bf16;
    case Format::e4m3: return half ? &warpgroup_e4m3_fp16 : &warpgroup_e4m3_bf16;
    case Format::e2m1: return half ? &warpgroup_e2m1_fp16 : &warpgroup_e2m1_bf16;
    default: return nullptr;
  }
}

}  // namespace kvant::cuda::linear
