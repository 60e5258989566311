#include "warpgroup.cuh"
#include "warpgroup_split.cuh"

namespace kvant::cuda::linear {

extern const WarpgroupProduct warpgroup_int4_int8;
const WarpgroupProduct warpgroup_int4_int8 = {launch_warpgroup_split<Format::int4, Operand::int8>, launch_warpgroup<Format::int4, Operand::int8>};

}  // namespace kvant::cuda::linear
