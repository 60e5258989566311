#include "warpgroup_product.cuh"

namespace kvant::cuda::linear {

void warpgroup_e2m1_fp16(const Call& call, cudaStream_t stream) { multiply_warpgroup<Format::e2m1, Operand::fp16>(call, stream); }

}  // namespace kvant::cuda::linear
