// y[t, n] = x_scale[t] * (factor * w_scale[n] * sum[t, n]) + bias[n], in place: the sum, int32 or float32, lies where y does.
// Reads and writes 4 bytes per value, best while the product is still in the second-level cache. A block takes 1024 features of
// 2 or 8 tokens. Rounds as `stream` does, so that exact sums give the same bits.
#include "library_scale.h"

#include <type_traits>

#include "cuda/launch.cuh"

namespace kvant::cuda::linear::library {
namespace {

constexpr int kThreads = 256, kFewTokens = 2, kManyTokens = 8;

template <class Sum>
__device__ __forceinline__ float scaled(float held, float factor, float w_scale, float x_scale, float bias) {
  const float sum = std::is_same_v<Sum, int> ? static_cast<float>(__float_as_int(held)) : held;
  return fmaf(sum * factor * w_scale, x_scale, bias);
}

template <class Sum, int kTokens>
__global__ void __launch_bounds__(kThreads) scale_kernel(const ScaledSums sums) {
  let_next_start();
  wait_for_inputs();
  const int feature = (blockIdx.x * kThreads + threadIdx.x) * 4;
  if (feature >= sums.rows) return;
  const float4 ones = {1, 1, 1, 1}, zeros = {0, 0, 0, 0};
  const float4 w = sums.w_scales ? *reinterpret_cast<const float4*>(sums.w_scales + feature) : ones;
  const float4 bias = sums.bias ? *reinterpret_cast<const float4*>(sums.bias + feature) : zeros;
  const int first = blockIdx.y * kTokens;
  float4 held[kTokens];
#pragma unroll
  for (int i = 0; i < kTokens; i++) {
    if (first + i < sums.tokens) held[i] = *reinterpret_cast<const float4*>(sums.y + static_cast<size_t>(first + i) * sums.stride + feature);
  }
#pragma unroll
  for (int i = 0; i < kTokens; i++) {
    if (first + i >= sums.tokens) break;
    const float x = sums.x_scales ? sums.x_scales[first + i] : 1.0f;
    float4 out;
    out.x = scaled<Sum>(held[i].x, sums.factor, w.x, x, bias.x);
    out.y = scaled<Sum>(held[i].y, sums.factor, w.y, x, bias.y);
    out.z = scaled<Sum>(held[i].z, sums.factor, w.z, x, bias.z);
    out.w = scaled<Sum>(held[i].w, sums.factor, w.w, x, bias.w);
    *reinterpret_cast<float4*>(sums.y + static_cast<size_t>(first + i) * sums.stride + feature) = out;
  }
}

}  // namespace

void scale_sums(const ScaledSums& sums, bool integers, cudaStream_t stream) {
  // Few tokens: more blocks, so that all multiprocessors work.
  const bool few = sums.tokens <= 256;
  const int tokens = few ? kFewTokens : kManyTokens;
  const dim3 grid(static_cast<unsigned>((sums.rows / 4 + kThreads - 1) / kThreads), static_cast<unsigned>((sums.tokens + tokens - 1) / tokens));
  const auto kernel = integers ? (few ? scale_kernel<int, kFewTokens> : scale_kernel<int, kManyTokens>)
                               : (few ? scale_kernel<float, kFewTokens> : scale_kernel<float, kManyTokens>);
  launch("linear scales of a library product", kernel, grid, kThreads, 0, stream, sums);
}

}  // namespace kvant::cuda::linear::library
