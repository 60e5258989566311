#pragma once
// The product on warpgroup tensor cores for a number of tokens.
#include "warpgroup_split.cuh"

namespace kvant::cuda::linear {

template <Format F, Operand kOperand>
void multiply_warpgroup(const Call& call, cudaStream_t stream) {
  if (call.tokens <= kMostSplitTokens) return launch_warpgroup_split<F, kOperand>(call, stream);
  if constexpr (kOperand == Operand::int8) launch_warpgroup_int8<F>(call, stream);
  else launch_warpgroup<F, kOperand>(call, stream);
}

}  // namespace kvant::cuda::linear
