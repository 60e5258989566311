#include "warpgroup.cuh"
#include "warpgroup_split.cuh"

namespace kvant::cuda::linear {

extern const WarpgroupProduct warpgroup_e2m1_fp16;
const WarpgroupProduct warpgroup_e2m1_fp16 = {launch_warpgroup_split<Format::e2m1, Operand::fp16>, launch_warpgroup<Format::e2m1, Operand::fp16>};

}  // namespace kvant::cuda::linear
