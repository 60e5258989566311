// Only for more than kMostSplitTokens: fewer come as fp16 numbers (matrix.cc).
#include "warpgroup.cuh"

namespace kvant::cuda::linear {

void warpgroup_e4m3_bf16(const Call& call, cudaStream_t stream) { launch_warpgroup<Format::e4m3, Operand::bf16>(call, stream); }

}  // namespace kvant::cuda::linear
