#include "tiles.cuh"

namespace kvant::cuda::linear {

extern const Product product_e4m3_fp16;
const Product product_e4m3_fp16 = {launch_stream<Format::e4m3, Operand::fp16>, launch_tiles<Format::e4m3, Operand::fp16>};

}  // namespace kvant::cuda::linear
