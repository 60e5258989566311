#include "fp32.cuh"

namespace kvant::cuda::linear {

extern const Product product_e4m3_fp32;
const Product product_e4m3_fp32 = {launch_fp32<Format::e4m3>, nullptr};

}  // namespace kvant::cuda::linear
