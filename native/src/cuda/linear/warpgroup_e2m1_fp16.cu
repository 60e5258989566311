#include "warpgroup.cuh"

namespace kvant::cuda::linear {

void warpgroup_e2m1_fp16(const Call& call, cudaStream_t stream) { launch_warpgroup<Format::e2m1, Operand::fp16>(call, stream); }

}  // namespace kvant::cuda::linear
