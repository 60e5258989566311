#include "warpgroup_product.cuh"

namespace kvant::cuda::linear {

void warpgroup_int8_fp16(const Call& call, cudaStream_t stream) { multiply_warpgroup<Format::int8, Operand::fp16>(call, stream); }

}  // namespace kvant::cuda::linear
