#include "fp32.cuh"

namespace kvant::cuda::linear {

extern const Product product_int4_fp32;
const Product product_int4_fp32 = {launch_fp32<Format::int4>, nullptr};

}  // namespace kvant::cuda::linear
