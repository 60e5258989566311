#include "fp32.cuh"

namespace kvant::cuda::linear {

extern const Product product_bf16_fp32;
const Product product_bf16_fp32 = {launch_fp32<Format::bf16>, nullptr};

}  // namespace kvant::cuda::linear
