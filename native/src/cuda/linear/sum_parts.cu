// y[t, n] = x_scale[t] * (parts[0, t, n] + parts[1, t, n] + ...) + bias[n], added in ascending order.
// parts: float32 [splits, T, N]   y: float32 [T, N].  Reads splits * T * N values, mostly from the second-level cache.
#include "../launch.cuh"
#include "layout.h"

namespace kvant::cuda::linear {
namespace {

__global__ void sum_parts_kernel(const Call call) {
  let_next_start();
  wait_for_inputs();
  const size_t count = static_cast<size_t>(call.tokens) * call.rows;
  const size_t at = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  float value = 0;
  for (int i = 0; i < call.splits; i++) value += __ldcg(call.parts + i * count + at);
  const size_t token = at / call.rows, row = at - token * call.rows;
  call.y[at] = fmaf(value, call.x_scales ? __ldcg(call.x_scales + token) : 1.0f, call.bias ? call.bias[row] : 0.0f);
}

}  // namespace

void sum_parts(const Call& call, cudaStream_t stream) {
  const size_t count = static_cast<size_t>(call.tokens) * call.rows;
  launch("linear sum of parts", sum_parts_kernel, dim3(static_cast<unsigned>((count + 255) / 256)), dim3(256), 0, stream, call);
}

}  // namespace kvant::cuda::linear
