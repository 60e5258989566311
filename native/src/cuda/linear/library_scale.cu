// y[t, n] = x_scale[t] * (w_scale[n] * sum[t, n]) + bias[n], or y[t, n] += the same. sum: int32 or float32, where y lies or not.
// Reads 4 bytes per value and writes 4, or 2 of bf16; `added` reads 4 more. Best while the product is still in the second-level
// cache. A block takes 1024 features of 2 or 8 tokens. Rounds as `stream` does, so that exact sums give the same bits.
#include "library_scale.h"

#include <type_traits>

#include "cuda/columns.cuh"
#include "cuda/launch.cuh"

namespace kvant::cuda::linear::library {
namespace {

constexpr int kThreads = 256, kFew = 2, kMany = 8;

template <class Sum>
__device__ __forceinline__ float scaled(float held, float w_scale, float x_scale, float bias) {
  const float sum = std::is_same_v<Sum, int> ? static_cast<float>(__float_as_int(held)) : held;
  return fmaf(sum * w_scale, x_scale, bias);
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
  const auto at = [&](int i) { return static_cast<size_t>(first + i) * sums.stride + feature; };
  float4 held[kTokens];
#pragma unroll
  for (int i = 0; i < kTokens; i++) {
    if (first + i < sums.tokens) held[i] = *reinterpret_cast<const float4*>(static_cast<const float*>(sums.sums) + at(i));
  }
#pragma unroll
  for (int i = 0; i < kTokens; i++) {
    if (first + i >= sums.tokens) break;
    const float x = sums.x_scales ? sums.x_scales[first + i] : 1.0f;
    float out[4] = {scaled<Sum>(held[i].x, w.x, x, bias.x), scaled<Sum>(held[i].y, w.y, x, bias.y),
                    scaled<Sum>(held[i].z, w.z, x, bias.z), scaled<Sum>(held[i].w, w.w, x, bias.w)};
    if (sums.result == Result::bf16) {
      store_columns(static_cast<Bf16*>(sums.y) + at(i), out);
      continue;
    }
    float* const y = static_cast<float*>(sums.y) + at(i);
    if (sums.result == Result::added) {
      float there[4];
      load_columns(y, there);
#pragma unroll
      for (int j = 0; j < 4; j++) out[j] += there[j];
    }
    store_columns(y, out);
  }
}

}  // namespace

void scale_sums(const ScaledSums& sums, cudaStream_t stream) {
  // Few tokens: more blocks, so that all multiprocessors work.
  const bool few = sums.tokens <= 256;
  const int tokens = few ? kFew : kMany;
  const dim3 grid(static_cast<unsigned>((sums.rows / 4 + kThreads - 1) / kThreads), static_cast<unsigned>((sums.tokens + tokens - 1) / tokens));
  const auto kernel = sums.integers ? (few ? scale_kernel<int, kFew> : scale_kernel<int, kMany>)
                                    : (few ? scale_kernel<float, kFew> : scale_kernel<float, kMany>);
  launch("linear scales of a library product", kernel, grid, kThreads, 0, stream, sums);
}

}  // namespace kvant::cuda::linear::library
