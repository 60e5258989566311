#include "warpgroup_product.cuh"

namespace kvant::cuda::linear {

void warpgroup_int4_bf16(const Call& call, cudaStream_t stream) { multiply_warpgroup<Format::int4, Operand::bf16>(call, stream); }

}  // namespace kvant::cuda::linear
