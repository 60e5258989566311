// out = x / sqrt(mean(x^2) + epsilon) * weight over each run of norm_width values; with a residual first x += residual.
// One block per run. Memory bound: 8 bytes per value, 16 with a residual.
// Squares are summed in double, whose rate is half that of float32 here, so no long sum loses digits.
#include "cuda/check.h"
#include "cuda/op_kernels.h"
#include "cuda/reduce.cuh"

namespace kvant::cuda {
namespace {

__global__ void rms_norm_kernel(float* x, const float* residual, const float* weight, int64_t norm_width, float epsilon,
                                float* out) {
  __shared__ double partial[32];
  const int64_t start = blockIdx.x * norm_width;
  double squares = 0;
  for (int64_t i = threadIdx.x; i < norm_width; i += blockDim.x) {
    float value = x[start + i];
    if (residual != nullptr) {
      value += residual[start + i];
      x[start + i] = value;
    }
    squares += static_cast<double>(value) * value;
  }
  const double total = block_reduce(squares, partial, Sum());
  const float inverse = static_cast<float>(1.0 / sqrt(total / static_cast<double>(norm_width) + static_cast<double>(epsilon)));
  for (int64_t i = threadIdx.x; i < norm_width; i += blockDim.x) out[start + i] = x[start + i] * inverse * weight[i];
}

}  // namespace

void rms_norm(float* x, const float* residual, const float* weight, int64_t count, int64_t width, int64_t norm_width,
              float epsilon, float* out, Stream stream) {
  const int threads = norm_width >= 4096 ? 512 : norm_width >= 1024 ? 256 : norm_width >= 128 ? 128 : 32;
  const auto runs = static_cast<unsigned>(count * (width / norm_width));
  rms_norm_kernel<<<runs, threads, 0, stream>>>(x, residual, weight, norm_width, epsilon, out);
  check_launch("rms_norm");
}

}  // namespace kvant::cuda
