#pragma once
// y[t, n] = x_scale[t] * sum_g scale[n, g] * sum_{k in g} x[t, k] * w[n, k] + bias[n], for few tokens.
// x: [T, padded K] fp16, bf16 or int8   w: layout.h   y: float32 [T, N]
//
// A block makes 16 features x 8 * kTokenTiles tokens: its warps, eight, or sixteen where there are few features, take runs of
// chunks of the weights in turn (kRunOf), straight into the registers of the tensor cores, 16 bytes a lane, several loads in flight;
// the sums of the warps meet in shared memory and are added in their order. Which sum an element belongs to depends on k and the
// matrix alone, so results are batch-invariant.
// Reads N * K codes once per 8 * kTokenTiles tokens; 2 * T * N * K operations on top, at least 8 tokens' worth are issued.
//
// What bounds a chain of small products is the time from one to the next. So blocks of the next product take the place of
// those that end and load their first weights before the activations are there. (Measured against one persistent block per
// multiprocessor with a ring in shared memory, filled by cp.async or bulk copies: those reach 92 % of the read probe on large
// matrices, this 97 %. Asking for the second weights in the second-level cache as well costs 5 to 10 % of a layer, also where only
// the first blocks ask; refilling each register as soon as it is used costs 7 % of a layer of int8; two tiles per block gain 5 % on
// the largest int4 matrix and lose as much on others.)
#include <algorithm>

#include "../launch.cuh"
#include "tensor_core.cuh"

namespace kvant::cuda::linear {

constexpr int kMostStreamWarps = 16;

__device__ __forceinline__ uint4 load_once(const void* at) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(at));
  return v;
}

// What a lane holds of a chunk; `at`: where its part of the tile's first chunk lies.
template <Format F>
__device__ __forceinline__ void load_chunk(const uint8_t* at, int chunk, size_t row_bytes, ChunkWords<F>& out) {
  if constexpr (bits(F) == 4) {
    out.vectors[0] = load_once(at + static_cast<unsigned>(chunk) * (32 * 16));
  } else {
    at += static_cast<unsigned>(chunk) * (kChunkColumns * bits(F) / 8);
#pragma unroll
    for (int i = 0; i < ChunkWords<F>::kVectors; i++) out.vectors[i] = load_once(at + i % 2 * 8 * row_bytes + i / 2 * 64);
  }
}

// Chunks that a warp loads at a time: 64 to 128 bytes in flight per lane, as far as the registers reach; whole spans.
template <Format F, int kTokenTiles, Scaling kScaling, int kScaleUnits>
constexpr int stream_ahead() {
  constexpr int kSpan = std::max(kScaleUnits / 2, 1);
  if (kTokenTiles > 2) return kSpan;
  const bool crowded = bits(F) == 8 && is_grouped(kScaling);
  return bits(F) == 16 || crowded || (kTokenTiles == 2 && kScaleUnits == 1) ? 2 : 4;
}

// Chunks that a warp takes one after the other before the other warps' turns, however many tokens and loads at a time a kernel has.
template <Format F>
constexpr int kRunOf = bits(F) == 16 ? 2 : 4;

// kScaleUnits: units for which scales are looked up once, and over which sums may run on: 4 where each span of two chunks is a
// group, or the row is, 2 where groups are whole chunks, else 1.
template <Format F, Operand kOperand, int kTokenTiles, Scaling kScaling, int kScaleUnits>
__global__ void __launch_bounds__(kMostStreamWarps * 32, kTokenTiles > 1 || kScaleUnits == 1 ? 1 : 2) stream_kernel(const Call call) {
  using Fam = Family<F, kOperand>;
  using Sum = typename Fam::Sum;
  constexpr int kXBytes = Fam::kXBytes;
  constexpr bool kGrouped = is_grouped(kScaling), kExact = std::is_same_v<Sum, int>;
  constexpr float kFactor = Fam::template kFactor<kScaling>;
  constexpr int kLookups = kScaleUnits == 1 ? 2 : 1, kSpan = std::max(kScaleUnits / 2, 1);
  constexpr int kAhead = stream_ahead<F, kTokenTiles, kScaling, kScaleUnits>();
  constexpr int kRun = kRunOf<F>;
  static_assert(kRun % kAhead == 0 && kAhead % kSpan == 0);
  __shared__ union Shared {
    __device__ Shared() {}
    float floats[kMostStreamWarps][kTokenTiles * 8][kTileRows + 1];
    int ints[kMostStreamWarps][kTokenTiles * 8][kTileRows + 1];
  } shared;

  const int warps = blockDim.x / 32, warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  const int tile = blockIdx.x, first_token = blockIdx.y * kTokenTiles * 8;
  const size_t row_bytes = static_cast<size_t>(call.padded_cols) * bits(F) / 8, tile_bytes = row_bytes * kTileRows;
  const uint8_t* const codes = call.codes + tile * tile_bytes + (bits(F) == 4 ? lane * 16 : g * row_bytes + c * 16);
  const uint8_t* const scales_at = call.scales + static_cast<size_t>(tile) * call.groups * call.scale_run;
  const int span_run = call.groups == 1 ? 0 : call.scale_run;
  const auto run_of = [&](int unit) {
    return scales_at + (kScaleUnits == 4 ? static_cast<unsigned>(unit / 4 * span_run) : static_cast<unsigned>(group_of(call, unit) * call.scale_run));
  };
  const uint8_t* x[kTokenTiles];
#pragma unroll
  for (int t = 0; t < kTokenTiles; t++) {
    // Tokens that are not there repeat the last one.
    const int token = min(first_token + t * 8 + g, call.tokens - 1);
    x[t] = static_cast<const uint8_t*>(call.x) + static_cast<size_t>(token) * call.padded_cols * kXBytes + c * 16;
  }

  Sum sum[kTokenTiles][4] = {};
  [[maybe_unused]] Sum x_sums[kTokenTiles][4] = {};
  float total[kTokenTiles][4] = {};
  ChunkWords<F> words[kAhead];
  ScaleWords<F, kScaling> scales[kAhead / kSpan][kLookups];
  // kAhead chunks from `base` on: all there, or as many as are left.
  const auto is_there = [&]<bool kAll>(int chunk) { return kAll || chunk < call.chunks; };
  const auto load = [&]<bool kAll>(int base) {
#pragma unroll
    for (int i = 0; i < kAhead; i++) {
      if (!is_there.template operator()<kAll>(base + i)) continue;
      load_chunk<F>(codes, base + i, row_bytes, words[i]);
      if constexpr (kScaling != Scaling::rows) {
        if (i % kSpan != 0) continue;
#pragma unroll
        for (int unit = 0; unit < kLookups; unit++) scales[i / kSpan][unit].load(call, run_of((base + i) * 2 + unit), g, c);
      }
    }
  };
  const auto multiply = [&]<bool kAll>(int base) {
#pragma unroll
    for (int i = 0; i < kAhead; i++) {
      if (!is_there.template operator()<kAll>(base + i)) continue;
      const bool ends_span = i % kSpan == kSpan - 1 || !is_there.template operator()<kAll>(base + i + 1);
      uint4 tokens[kTokenTiles][kXBytes];
#pragma unroll
      for (int t = 0; t < kTokenTiles; t++) {
        const uint8_t* const from = x[t] + static_cast<unsigned>(base + i) * (kChunkColumns * kXBytes);
#pragma unroll
        for (int v = 0; v < kXBytes; v++) tokens[t][v] = *reinterpret_cast<const uint4*>(from + v * 64);
      }
      GroupFactors factors;
      const auto add = [&]<int kUnit>() {
        constexpr bool kEnds = kGrouped && (kUnit == 1 || kScaleUnits == 1);
        if constexpr (kUnit < kLookups) scales[i / kSpan][kUnit].template factors<Fam>(call, run_of((base + i) * 2 + kUnit), g, factors);
        typename Fam::Weights weights;
        Fam::template decode<kUnit, kScaling>(words[i], factors, weights);
#pragma unroll
        for (int t = 0; t < kTokenTiles; t++) {
          uint32_t values[4];
          unit_of<kXBytes, kUnit>(tokens[t], values);
          if constexpr (Fam::template kSumsX<kScaling>) Fam::add_x(x_sums[t], values);
          Fam::template multiply<kScaling>(sum[t], weights, values);
          if constexpr (kEnds) {
            if (!ends_span) continue;
#pragma unroll
            for (int e = 0; e < 4; e++) {
              Sum value = sum[t][e];
              if constexpr (Fam::template kSumsX<kScaling>) value -= Fam::zero(factors, e / 2) * x_sums[t][e];
              // The factor of integers is 1/16 at least and spares a product where it meets the scale; that of floats might overflow there.
              const float scale = kExact ? factors.scale[e / 2] * kFactor : factors.scale[e / 2];
              total[t][e] = fmaf(kExact ? static_cast<float>(value) : static_cast<float>(value) * kFactor, scale, total[t][e]);
              sum[t][e] = x_sums[t][e] = 0;
            }
          }
        }
      };
      add.template operator()<0>();
      add.template operator()<1>();
    }
  };
  const auto with_rest = [&](const auto& part, int base) {
    if (base + kAhead <= call.chunks) part.template operator()<true>(base);
    else part.template operator()<false>(base);
  };
  let_next_start();
  int base = warp * kRun;
  if (base < call.chunks) with_rest(load, base);
  wait_for_inputs();
  while (base < call.chunks) {
    with_rest(multiply, base);
    base += kAhead;
    if (kAhead == kRun || base % kRun == 0) base += (warps - 1) * kRun;
    if (base < call.chunks) with_rest(load, base);
  }

  // What the thread's first output needs is asked for before the warps meet. Its other outputs are of the same row.
  const int tokens = min(kTokenTiles * 8, call.tokens - first_token);
  const int own_row = tile * kTileRows + static_cast<int>(threadIdx.x % kTileRows), own_token = static_cast<int>(threadIdx.x / kTileRows);
  float row_scale = 0, bias = 0, x_scale = 1;
  if (own_token < tokens && own_row < call.rows) {
    if constexpr (!kGrouped && bits(F) <= 8) row_scale = call.row_scales[own_row];
    if (call.bias != nullptr) bias = call.bias[own_row];
    if (call.x_scales != nullptr) x_scale = __ldcg(call.x_scales + first_token + own_token);
  }
#pragma unroll
  for (int t = 0; t < kTokenTiles; t++) {
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int token = t * 8 + c * 2 + e % 2, row = g + e / 2 * 8;
      if constexpr (kGrouped) {
        shared.floats[warp][token][row] = total[t][e];
      } else if constexpr (kExact) {
        shared.ints[warp][token][row] = sum[t][e];
      } else {
        shared.floats[warp][token][row] = sum[t][e];
      }
    }
  }
  __syncthreads();
  for (int at = threadIdx.x; at < tokens * kTileRows; at += blockDim.x) {
    const int in_tile = at / kTileRows, in_rows = at % kTileRows;
    const int token = first_token + in_tile, row = tile * kTileRows + in_rows;
    if (row >= call.rows) continue;
    float value;
    if constexpr (!kGrouped && kExact) {
      int exact = 0;
#pragma unroll 8
      for (int w = 0; w < warps; w++) exact += shared.ints[w][in_tile][in_rows];
      value = static_cast<float>(exact);
    } else {
      value = 0;
#pragma unroll 8
      for (int w = 0; w < warps; w++) value += shared.floats[w][in_tile][in_rows];
    }
    if constexpr (!kGrouped && bits(F) <= 8) value *= kFactor, value *= row_scale;
    if (at >= static_cast<int>(blockDim.x) && call.x_scales != nullptr) x_scale = __ldcg(call.x_scales + token);
    call.y[static_cast<size_t>(token) * call.rows + row] = fmaf(value, x_scale, bias);
  }
}

template <Format F, Operand kOperand, Scaling kScaling, int kScaleUnits>
void launch_stream_of(const Call& call, cudaStream_t stream) {
  const int tiles = (call.rows + kTileRows - 1) / kTileRows;
  const unsigned warps = tiles <= 2 * call.multiprocessors ? kMostStreamWarps : kMostStreamWarps / 2;
  const auto start = [&]<int kTokenTiles>() {
    constexpr int kTokens = kTokenTiles * 8;
    const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>((call.tokens + kTokens - 1) / kTokens));
    const LaunchOptions options = {.shared_percent = kTokens <= kFewTokens ? kSharedPercentOfFewTokens : -1};
    launch_as(options, "linear stream", stream_kernel<F, kOperand, kTokenTiles, kScaling, kScaleUnits>, grid, dim3(warps * 32), 0, stream, call);
  };
  if (call.tokens <= 8) start.template operator()<1>();
  else if (call.tokens <= 16) start.template operator()<2>();
  else start.template operator()<4>();
}

template <Format F, Operand kOperand, Scaling kScaling>
struct LaunchStream {
  static void run(const Call& call, cudaStream_t stream) {
    if constexpr (kScaling == Scaling::codes) {
      launch_stream_of<F, kOperand, kScaling, 1>(call, stream);
    } else if constexpr (is_grouped(kScaling)) {
      const int units = call.groups == 1 ? 4 : call.group_units;
      if (units == 4) launch_stream_of<F, kOperand, kScaling, 4>(call, stream);
      else if (units % 2 == 0) launch_stream_of<F, kOperand, kScaling, 2>(call, stream);
      else launch_stream_of<F, kOperand, kScaling, 1>(call, stream);
    } else {
      launch_stream_of<F, kOperand, kScaling, 2>(call, stream);
    }
  }
};

template <Format F, Operand kOperand>
void launch_stream(const Call& call, cudaStream_t stream) {
  launch_scaled<LaunchStream, F, kOperand>(call, stream);
}

}  // namespace kvant::cuda::linear
