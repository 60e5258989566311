#pragma once
// y[t, n] = sum_g scale[n, g] * sum_{k in g} x[t, k] * w[n, k] + bias[n] in float32 fused multiply-adds (no TF32), for
// float32 activations and for pairs of 16-bit formats that no tensor-core step takes together.
// x: float32 [T, padded K]   w: layout.h   y: float32 [T, N]
//
// A block of eight warps makes 16 features x kTokens tokens; warp i takes units i, i + 8, ... Lane (g, c) adds up rows g and
// g + 8 over its eight columns of each unit; quads meet by shuffles, warps in shared memory, in a fixed order, the same for
// every number of tokens: batch-invariant. Reads N * K codes once per kTokens tokens; 2 * T * N * K operations on top.
#include "cpu/linear/float_codes.h"
#include "decode.cuh"
#include "layout.h"
#include "../launch.cuh"
#include "tensor_core.cuh"

namespace kvant::cuda::linear {

constexpr int kFp32Warps = 8;

// Eight columns of a row as float32, less their code of zero, without scale.
template <Format F>
__device__ __forceinline__ void eight_floats(const Call& call, int tile, int unit, int lane, int half, int zero, float (&w)[8]) {
  const int c = lane % 4, chunk = unit / 2;
  const size_t row = static_cast<size_t>(tile) * kTileRows + lane / 4 + half * 8;
  if constexpr (F == Format::fp32) {
    const float4* at = reinterpret_cast<const float4*>(call.codes) + (row * call.padded_cols + unit * kUnitColumns + c * 8) / 4;
    const float4 low = __ldg(at), high = __ldg(at + 1);
    w[0] = low.x, w[1] = low.y, w[2] = low.z, w[3] = low.w, w[4] = high.x, w[5] = high.y, w[6] = high.z, w[7] = high.w;
  } else {
    using Pair = std::conditional_t<F == Format::bf16, __nv_bfloat162, __half2>;
    uint32_t words[Decoder<F, Pair>::kWords], pairs[4];
    if constexpr (bits(F) == 16) {
      const uint4 v = __ldg(reinterpret_cast<const uint4*>(call.codes + (row * call.padded_cols + unit * kUnitColumns + c * 8) * 2));
      words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
    } else if constexpr (bits(F) == 8) {
      const uint2 v = __ldg(reinterpret_cast<const uint2*>(call.codes + row * call.padded_cols + chunk * kChunkColumns + c * 16 + unit % 2 * 8));
      words[0] = v.x, words[1] = v.y;
    } else {
      words[0] = __ldg(reinterpret_cast<const uint32_t*>(call.codes) +
                       ((static_cast<size_t>(tile) * call.chunks + chunk) * 32 + lane) * 4 + unit % 2 * 2 + half);
    }
    Decoder<F, Pair>::template eight<true>(words, Decoder<F, Pair>::offset(zero), pairs);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      float2 both;
      if constexpr (F == Format::bf16) both = __bfloat1622float2(from_bits<Pair>(pairs[i]));
      else both = __half22float2(from_bits<Pair>(pairs[i]));
      w[2 * i] = both.x, w[2 * i + 1] = both.y;
    }
  }
}

// Scales and codes of zero of rows g and g + 8 for the eight columns of lane (g, c).
template <Format F>
__device__ __forceinline__ void load_scales(const Call& call, int tile, int unit, int g, int c, float (&scale)[2], int (&zero)[2]) {
  struct Plain {
    static __device__ uint32_t offset(int) { return 0; }
  };
  const uint8_t* run = call.scales + (static_cast<size_t>(tile) * call.groups + group_of(call, unit)) * call.scale_run;
  GroupFactors factors;
  if (F == Format::e2m1 && call.scaling == Scaling::codes) {
    ScaleWords<F, Scaling::codes> codes;
    codes.load(call, run, g, c);
    for (int half = 0; half < 2; half++) {
      scale[half] = kvant::linear::decode_float(codes.words[half], Format::e4m3) * call.row_scales[tile * kTileRows + g + half * 8];
    }
  } else {
    ScaleWords<F, Scaling::groups> words;
    words.load(call, run, g, c);
    words.template factors<Plain>(call, run, g, factors);
    if (call.scaling == Scaling::zeros) words.load_zeros(run, g, factors);
    for (int half = 0; half < 2; half++) scale[half] = factors.scale[half], zero[half] = factors.zero[half];
  }
}

template <Format F, int kTokens>
__global__ void __launch_bounds__(kFp32Warps * 32) fp32_kernel(const Call call) {
  constexpr bool kScaled = bits(F) <= 8;
  __shared__ float shared[kFp32Warps][kTokens][kTileRows];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  const int tile = blockIdx.x, first_token = blockIdx.y * kTokens, units = call.chunks * 2;
  const float* x = static_cast<const float*>(call.x);
  float factor = 1.0f;
  if constexpr (kScaled) factor = Decoder<F, __half2>::kFactor;

  let_next_start();
  wait_for_inputs();
  float total[kTokens][2] = {};
  for (int unit = warp; unit < units; unit += kFp32Warps) {
    float w[2][8], scale[2] = {1.0f, 1.0f};
    int zero[2] = {};
    if constexpr (kScaled) load_scales<F>(call, tile, unit, g, c, scale, zero);
    eight_floats<F>(call, tile, unit, lane, 0, zero[0], w[0]);
    eight_floats<F>(call, tile, unit, lane, 1, zero[1], w[1]);
#pragma unroll
    for (int t = 0; t < kTokens; t++) {
      const int token = min(first_token + t, call.tokens - 1);
      const float4* at = reinterpret_cast<const float4*>(x + static_cast<size_t>(token) * call.padded_cols + unit * kUnitColumns + c * 8);
      const float4 low = __ldcg(at), high = __ldcg(at + 1);
      const float values[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float sum = kScaled ? 0.0f : total[t][half];
#pragma unroll
        for (int k = 0; k < 8; k++) sum = fmaf(values[k], w[half][k], sum);
        total[t][half] = kScaled ? fmaf(sum * factor, scale[half], total[t][half]) : sum;
      }
    }
  }
#pragma unroll
  for (int t = 0; t < kTokens; t++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float value = total[t][half];
      value += __shfl_xor_sync(0xffffffffu, value, 1);
      value += __shfl_xor_sync(0xffffffffu, value, 2);
      if (c == 0) shared[warp][t][g + half * 8] = value;
    }
  }
  __syncthreads();
  for (int at = threadIdx.x; at < kTokens * kTileRows; at += kFp32Warps * 32) {
    const int token = first_token + at / kTileRows, row = tile * kTileRows + at % kTileRows;
    if (token >= call.tokens || row >= call.rows) continue;
    float value = 0;
#pragma unroll
    for (int w = 0; w < kFp32Warps; w++) value += shared[w][at / kTileRows][at % kTileRows];
    call.y[static_cast<size_t>(token) * call.rows + row] = value + (call.bias ? call.bias[row] : 0.0f);
  }
}

template <Format F>
void launch_fp32(const Call& call, cudaStream_t stream) {
  const unsigned tiles = static_cast<unsigned>((call.rows + kTileRows - 1) / kTileRows);
  const auto grid = [&](int tokens) { return dim3(tiles, static_cast<unsigned>((call.tokens + tokens - 1) / tokens)); };
  if (call.tokens == 1) launch("linear fp32", fp32_kernel<F, 1>, grid(1), dim3(kFp32Warps * 32), 0, stream, call);
  else if (call.tokens <= 4) launch("linear fp32", fp32_kernel<F, 4>, grid(4), dim3(kFp32Warps * 32), 0, stream, call);
  else launch("linear fp32", fp32_kernel<F, 16>, grid(16), dim3(kFp32Warps * 32), 0, stream, call);
}

}  // namespace kvant::cuda::linear
