#include "tiles.cuh"

namespace kvant::cuda::linear {

extern const Product product_e5m2_fp16;
const Product product_e5m2_fp16 = {launch_stream<Format::e5m2, Operand::fp16>, launch_tiles<Format::e5m2, Operand::fp16>};

}  // namespace kvant::cuda::linear
