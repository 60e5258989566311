#include "fp32.cuh"

namespace kvant::cuda::linear {

extern const Product product_int8_fp32;
const Product product_int8_fp32 = {launch_fp32<Format::int8>, nullptr};

}  // namespace kvant::cuda::linear
