#include "tiles.cuh"

namespace kvant::cuda::linear {

extern const Product product_e5m2_bf16;
const Product product_e5m2_bf16 = {nullptr, launch_tiles<Format::e5m2, Operand::bf16>};

}  // namespace kvant::cuda::linear
