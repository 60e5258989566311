#include "tiles.cuh"

namespace kvant::cuda::linear {

extern const Product product_fp16_fp16;
const Product product_fp16_fp16 = {launch_stream<Format::fp16, Operand::fp16>, launch_tiles<Format::fp16, Operand::fp16>};

}  // namespace kvant::cuda::linear
