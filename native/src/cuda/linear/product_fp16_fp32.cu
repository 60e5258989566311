#include "fp32.cuh"

namespace kvant::cuda::linear {

extern const Product product_fp16_fp32;
const Product product_fp16_fp32 = {launch_fp32<Format::fp16>, nullptr};

}  // namespace kvant::cuda::linear
