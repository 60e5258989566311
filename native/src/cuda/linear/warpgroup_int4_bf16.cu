#include "warpgroup.cuh"
#include "warpgroup_split.cuh"

namespace kvant::cuda::linear {

extern const WarpgroupProduct warpgroup_int4_bf16;
const WarpgroupProduct warpgroup_int4_bf16 = {launch_warpgroup_split<Format::int4, Operand::bf16>, launch_warpgroup<Format::int4, Operand::bf16>};

}  // namespace kvant::cuda::linear
