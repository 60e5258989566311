#pragma once
// y[t, n] = x_scale[t] * sum_g scale[n, g] * sum_{k in g} x[t, k] * w[n, k] + bias[n], for few tokens.
// x: [T, padded K] fp16, bf16 or int8   w: layout.h   y: float32 [T, N]
//
// A block of eight warps makes 16 features x 8 * kTokenTiles tokens: warp i reads chunks i, i + 8, ... of the weights straight
// into the registers of the tensor cores, 16 bytes a lane, several loads in flight; the eight sums meet in shared memory and
// are added in the order of the warps. Which sum an element belongs to depends on k alone, so results are batch-invariant.
// Reads N * K codes once per 8 * kTokenTiles tokens; 2 * T * N * K operations on top, at least 8 tokens' worth are issued.
#include "../check.h"
#include "tensor_core.cuh"

namespace kvant::cuda::linear {

constexpr int kStreamWarps = 8;

__device__ __forceinline__ uint4 load_once(const void* at) {
  uint4 v;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(at));
  return v;
}

// What lane (g, c) holds of the tile that begins at `row`; `rows_bytes` is bytes from a row to the next.
template <Format F>
__device__ __forceinline__ void load_chunk(const Call& call, int tile, int chunk, int lane, ChunkWords<F>& out) {
  if constexpr (bits(F) == 4) {
    out.vectors[0] = load_once(call.codes + ((static_cast<size_t>(tile) * call.chunks + chunk) * 32 + lane) * 16);
  } else {
    constexpr int kBytes = bits(F) / 8;
    const size_t row_bytes = static_cast<size_t>(call.padded_cols) * kBytes;
    const uint8_t* at = call.codes + (static_cast<size_t>(tile) * kTileRows + lane / 4) * row_bytes +
                        static_cast<size_t>(chunk) * kChunkColumns * kBytes + lane % 4 * 16;
#pragma unroll
    for (int i = 0; i < ChunkWords<F>::kVectors; i++) out.vectors[i] = load_once(at + i % 2 * 8 * row_bytes + i / 2 * 64);
  }
}

template <Format F, Operand kOperand, int kTokenTiles, bool kGrouped>
__global__ void __launch_bounds__(kStreamWarps * 32) stream_kernel(const Call call) {
  using Fam = Family<F, kOperand>;
  using Sum = typename Fam::Sum;
  constexpr int kXBytes = Fam::kXBytes;
  // About 64 bytes of weights in flight per lane.
  constexpr int kAhead = kTokenTiles > 2 ? 1 : bits(F) == 16 ? 2 : 4;
  // Groups of whole chunks are scaled once per chunk.
  const bool scale_units = kGrouped && call.group_units % 2 != 0;
  __shared__ union Shared {
    __device__ Shared() {}
    float floats[kStreamWarps][kTokenTiles * 8][kTileRows + 1];
    int ints[kStreamWarps][kTokenTiles * 8][kTileRows + 1];
  } shared;

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  const int tile = blockIdx.x, first_token = blockIdx.y * kTokenTiles * 8;
  const uint8_t* x = static_cast<const uint8_t*>(call.x);
  const size_t x_row = static_cast<size_t>(call.padded_cols) * kXBytes;

  Sum sum[kTokenTiles][4] = {};
  float total[kTokenTiles][4] = {};
  for (int base = warp; base < call.chunks; base += kStreamWarps * kAhead) {
    ChunkWords<F> words[kAhead];
    float scales[kAhead][2][2];
#pragma unroll
    for (int i = 0; i < kAhead; i++) {
      const int chunk = base + i * kStreamWarps;
      if (chunk >= call.chunks) continue;
      load_chunk<F>(call, tile, chunk, lane, words[i]);
      if constexpr (kGrouped) {
#pragma unroll
        for (int unit = 0; unit < 2; unit++) {
          if (unit == 0 && !scale_units) continue;
          const float* at = call.scales + (static_cast<size_t>(tile) * call.groups + group_of(call, chunk * 2 + unit)) * kTileRows;
          scales[i][unit][0] = __ldg(at + g);
          scales[i][unit][1] = __ldg(at + g + 8);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kAhead; i++) {
      const int chunk = base + i * kStreamWarps;
      if (chunk >= call.chunks) continue;
      uint4 tokens[kTokenTiles][kXBytes];
#pragma unroll
      for (int t = 0; t < kTokenTiles; t++) {
        const int token = first_token + t * 8 + g;
#pragma unroll
        for (int v = 0; v < kXBytes; v++) {
          tokens[t][v] = token < call.tokens
              ? __ldg(reinterpret_cast<const uint4*>(x + token * x_row + static_cast<size_t>(chunk) * kChunkColumns * kXBytes + v * 64 + c * 16))
              : uint4{0, 0, 0, 0};
        }
      }
      const auto add = [&]<int kUnit>() {
        typename Fam::Weights weights;
        Fam::template decode<kUnit>(words[i], weights);
#pragma unroll
        for (int t = 0; t < kTokenTiles; t++) {
          uint32_t values[4];
          unit_of<kXBytes, kUnit>(tokens[t], values);
          Fam::multiply(sum[t], weights, values);
          if (kGrouped && (kUnit == 1 || scale_units)) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
              total[t][e] = fmaf(static_cast<float>(sum[t][e]) * Fam::kFactor, scales[i][kUnit][e / 2], total[t][e]);
              sum[t][e] = 0;
            }
          }
        }
      };
      add.template operator()<0>();
      add.template operator()<1>();
    }
  }

#pragma unroll
  for (int t = 0; t < kTokenTiles; t++) {
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int token = t * 8 + c * 2 + e % 2, row = g + e / 2 * 8;
      if constexpr (kGrouped) {
        shared.floats[warp][token][row] = total[t][e];
      } else if constexpr (std::is_same_v<Sum, int>) {
        shared.ints[warp][token][row] = sum[t][e];
      } else {
        shared.floats[warp][token][row] = sum[t][e];
      }
    }
  }
  __syncthreads();
  for (int at = threadIdx.x; at < kTokenTiles * 8 * kTileRows; at += kStreamWarps * 32) {
    const int in_tile = at / kTileRows, in_rows = at % kTileRows;
    const int token = first_token + in_tile, row = tile * kTileRows + in_rows;
    if (token >= call.tokens || row >= call.rows) continue;
    float value;
    if constexpr (!kGrouped && std::is_same_v<Sum, int>) {
      int exact = 0;
#pragma unroll
      for (int w = 0; w < kStreamWarps; w++) exact += shared.ints[w][in_tile][in_rows];
      value = static_cast<float>(exact);
    } else {
      value = 0;
#pragma unroll
      for (int w = 0; w < kStreamWarps; w++) value += shared.floats[w][in_tile][in_rows];
    }
    if constexpr (!kGrouped && bits(F) <= 8) value *= Fam::kFactor, value *= call.scales[row];
    const float bias = call.bias ? call.bias[row] : 0.0f;
    call.y[static_cast<size_t>(token) * call.rows + row] = fmaf(value, call.x_scales ? call.x_scales[token] : 1.0f, bias);
  }
}

template <Format F, Operand kOperand, bool kGrouped>
void launch_stream_of(const Call& call, cudaStream_t stream) {
  const unsigned tiles = static_cast<unsigned>((call.rows + kTileRows - 1) / kTileRows);
  const auto grid = [&](int tokens) { return dim3(tiles, static_cast<unsigned>((call.tokens + tokens - 1) / tokens)); };
  if (call.tokens <= 8) {
    stream_kernel<F, kOperand, 1, kGrouped><<<grid(8), kStreamWarps * 32, 0, stream>>>(call);
  } else if (call.tokens <= 16) {
    stream_kernel<F, kOperand, 2, kGrouped><<<grid(16), kStreamWarps * 32, 0, stream>>>(call);
  } else {
    stream_kernel<F, kOperand, 8, kGrouped><<<grid(64), kStreamWarps * 32, 0, stream>>>(call);
  }
  check_launch("linear stream");
}

// Formats that are mostly held with one scale per row have kernels of their own for it; elsewhere one group is as good.
template <Format F>
constexpr bool kHasUngrouped = bits(F) == 16 || F == Format::int8 || F == Format::e4m3;

template <Format F, Operand kOperand>
void launch_stream(const Call& call, bool grouped, cudaStream_t stream) {
  if constexpr (bits(F) == 16) {
    launch_stream_of<F, kOperand, false>(call, stream);
  } else if constexpr (kHasUngrouped<F>) {
    grouped ? launch_stream_of<F, kOperand, true>(call, stream) : launch_stream_of<F, kOperand, false>(call, stream);
  } else {
    launch_stream_of<F, kOperand, true>(call, stream);
  }
}

}  // namespace kvant::cuda::linear
