#include "tiles.cuh"

namespace kvant::cuda::linear {

extern const Product product_int4_fp16;
const Product product_int4_fp16 = {launch_stream<Format::int4, Operand::fp16>, launch_tiles<Format::int4, Operand::fp16>};

}  // namespace kvant::cuda::linear
