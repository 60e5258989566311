#include "warpgroup.cuh"
#include "warpgroup_split.cuh"

namespace kvant::cuda::linear {

extern const WarpgroupProduct warpgroup_e4m3_fp16;
const WarpgroupProduct warpgroup_e4m3_fp16 = {launch_warpgroup_split<Format::e4m3, Operand::fp16>, launch_warpgroup<Format::e4m3, Operand::fp16>};

}  // namespace kvant::cuda::linear
