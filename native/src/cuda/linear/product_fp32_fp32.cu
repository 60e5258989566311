#include "fp32.cuh"

namespace kvant::cuda::linear {

extern const Product product_fp32_fp32;
const Product product_fp32_fp32 = {launch_fp32<Format::fp32>, nullptr};

}  // namespace kvant::cuda::linear
