// y[t, n] = x_scale[t] * (parts[0, t, n] + parts[1, t, n] + ...) + bias[n], added in ascending order.
// parts: float32 [splits, T, N]   y: float32 [T, N].  Reads splits * T * N values, mostly from the second-level cache.
#include "../check.h"
#include "layout.h"

namespace kvant::cuda::linear {
namespace {

__global__ void sum_parts_kernel(const Call call) {
  const size_t count = static_cast<size_t>(call.tokens) * call.rows;
  const size_t at = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  float value = 0;
  for (int i = 0; i < call.splits; i++) value += call.parts[i * count + at];
  const size_t token = at / call.rows, row = at - token * call.rows;
  call.y[at] = fmaf(value, call.x_scales ? call.x_scales[token] : 1.0f, call.bias ? call.bias[row] : 0.0f);
}

}  // namespace

void sum_parts(const Call& call, cudaStream_t stream) {
  const size_t count = static_cast<size_t>(call.tokens) * call.rows;
  sum_parts_kernel<<<static_cast<unsigned>((count + 255) / 256), 256, 0, stream>>>(call);
  check_launch("linear sum of parts");
}

}  // namespace kvant::cuda::linear
