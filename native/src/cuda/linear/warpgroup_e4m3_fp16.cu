#include "warpgroup_product.cuh"

namespace kvant::cuda::linear {

void warpgroup_e4m3_fp16(const Call& call, cudaStream_t stream) { multiply_warpgroup<Format::e4m3, Operand::fp16>(call, stream); }

}  // namespace kvant::cuda::linear
