#include "tiles.cuh"

namespace kvant::cuda::linear {

extern const Product product_bf16_bf16;
const Product product_bf16_bf16 = {launch_stream<Format::bf16, Operand::bf16>, launch_tiles<Format::bf16, Operand::bf16>};

}  // namespace kvant::cuda::linear
