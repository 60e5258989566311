#include "tiles.cuh"

namespace kvant::cuda::linear {

extern const Product product_int8_bf16;
const Product product_int8_bf16 = {launch_stream<Format::int8, Operand::bf16>, launch_tiles<Format::int8, Operand::bf16>};

}  // namespace kvant::cuda::linear
