#include "tiles.cuh"

namespace kvant::cuda::linear {

extern const Product product_int8_int8;
const Product product_int8_int8 = {launch_stream<Format::int8, Operand::int8>, launch_tiles<Format::int8, Operand::int8>};

}  // namespace kvant::cuda::linear
