#pragma once

namespace kvant::cuda {

// One pair of a head turned by an angle; the products round as on the CPU.
__device__ inline float2 rotate(float low, float high, float cos, float sin) {
  return {fmaf(low, cos, -__fmul_rn(high, sin)), fmaf(high, cos, __fmul_rn(low, sin))};
}

}  // namespace kvant::cuda
