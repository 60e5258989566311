#include "fp32.cuh"

namespace kvant::cuda::linear {

extern const Product product_e2m1_fp32;
const Product product_e2m1_fp32 = {launch_fp32<Format::e2m1>, nullptr};

}  // namespace kvant::cuda::linear
