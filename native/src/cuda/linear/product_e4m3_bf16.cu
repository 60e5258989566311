#include "tiles.cuh"

namespace kvant::cuda::linear {

extern const Product product_e4m3_bf16;
const Product product_e4m3_bf16 = {nullptr, launch_tiles<Format::e4m3, Operand::bf16>};

}  // namespace kvant::cuda::linear
