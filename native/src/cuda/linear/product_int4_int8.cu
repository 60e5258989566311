#include "tiles.cuh"

namespace kvant::cuda::linear {

extern const Product product_int4_int8;
const Product product_int4_int8 = {launch_stream<Format::int4, Operand::int8>, launch_tiles<Format::int4, Operand::int8>};

}  // namespace kvant::cuda::linear
