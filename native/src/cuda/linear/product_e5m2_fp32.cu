#include "fp32.cuh"

namespace kvant::cuda::linear {

extern const Product product_e5m2_fp32;
const Product product_e5m2_fp32 = {launch_fp32<Format::e5m2>, nullptr};

}  // namespace kvant::cuda::linear
