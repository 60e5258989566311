#include "warpgroup_product.cuh"

namespace kvant::cuda::linear {

void warpgroup_int8_int8(const Call& call, cudaStream_t stream) { multiply_warpgroup<Format::int8, Operand::int8>(call, stream); }

}  // namespace kvant::cuda::linear
