#include "warpgroup_int8.cuh"

namespace kvant::cuda::linear {

void warpgroup_int4_int8(const Call& call, cudaStream_t stream) { launch_warpgroup_int8<Format::int4>(call, stream); }

}  // namespace kvant::cuda::linear
