#include "warpgroup.cuh"

namespace kvant::cuda::linear {

extern const WarpgroupProduct warpgroup_e4m3_bf16;
const WarpgroupProduct warpgroup_e4m3_bf16 = {nullptr, launch_warpgroup<Format::e4m3, Operand::bf16>};

}  // namespace kvant::cuda::linear
