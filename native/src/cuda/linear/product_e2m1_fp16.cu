#include "tiles.cuh"

namespace kvant::cuda::linear {

extern const Product product_e2m1_fp16;
const Product product_e2m1_fp16 = {launch_stream<Format::e2m1, Operand::fp16>, launch_tiles<Format::e2m1, Operand::fp16>};

}  // namespace kvant::cuda::linear
