#include "warpgroup.cuh"
#include "warpgroup_split.cuh"

namespace kvant::cuda::linear {

extern const WarpgroupProduct warpgroup_int8_bf16;
const WarpgroupProduct warpgroup_int8_bf16 = {launch_warpgroup_split<Format::int8, Operand::bf16>, launch_warpgroup<Format::int8, Operand::bf16>};

}  // namespace kvant::cuda::linear
