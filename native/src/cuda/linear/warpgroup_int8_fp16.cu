#include "warpgroup.cuh"
#include "warpgroup_split.cuh"

namespace kvant::cuda::linear {

extern const WarpgroupProduct warpgroup_int8_fp16;
const WarpgroupProduct warpgroup_int8_fp16 = {launch_warpgroup_split<Format::int8, Operand::fp16>, launch_warpgroup<Format::int8, Operand::fp16>};

}  // namespace kvant::cuda::linear
