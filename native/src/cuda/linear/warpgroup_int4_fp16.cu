#include "warpgroup.cuh"

namespace kvant::cuda::linear {

void warpgroup_int4_fp16(const Call& call, cudaStream_t stream) { launch_warpgroup<Format::int4, Operand::fp16>(call, stream); }

}  // namespace kvant::cuda::linear
