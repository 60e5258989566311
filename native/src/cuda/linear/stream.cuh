#pragma once
// y[t, n] = x_scale[t] * sum_g scale[n, g] * sum_{k in g} x[t, k] * w[n, k] + bias[n], for few tokens.
// x: [T, padded K] fp16, bf16 or int8   w: layout.h   y: float32 [T, N]
//
// One block per multiprocessor takes an even share of the tiles of 16 features, two at a time. Its warps stand side by side
// over the columns: warp w takes steps w, w + 16, ... of 64 bytes a row (4 bits: 32). Each lane copies the vectors that it
// will multiply into a ring in shared memory, several steps ahead and across pairs of tiles, and begins with that before the
// activations are there; so enough reads are in flight without a register or a barrier for them. The sums of the warps are
// added in their order. Which sum an element belongs to depends on k alone, so results are batch-invariant.
// Reads N * K codes and, mostly from caches, T * K activations per pair of tiles.
#include <algorithm>

#include "../launch.cuh"
#include "tensor_core.cuh"

namespace kvant::cuda::linear {

#ifndef KV_WARPS
#define KV_WARPS 16
#endif
constexpr int kStreamWarps = KV_WARPS;
constexpr int kStreamThreads = kStreamWarps * 32;
constexpr int kPairTiles = 2;

template <int kBytes>
__device__ __forceinline__ void copy_async(uint32_t to, const void* from) {
  if constexpr (kBytes == 128) {  // with what lies beside the 16 bytes, for the warp beside this one
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
  } else {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
  }
}

// A step: what a warp multiplies at a time of each tile of a pair.
template <Format F, Scaling kScaling>
struct StreamStep {
  static constexpr int kColumns = bits(F) == 16 ? 32 : 64;
  static constexpr int kUnits = kColumns / kUnitColumns;
  static constexpr int kVectors = bits(F) == 4 ? 1 : 2;               // of a lane and tile
  static constexpr int kBytes = kPairTiles * kVectors * 32 * 16;      // of a warp
  static constexpr int kAhead = (kBytes == 1024 ? 5 : kScaling == Scaling::rows ? 3 : 2) * 16 / kStreamWarps;  // steps in flight
  static constexpr int kRuns = kPairTiles * kUnits * kTileRows * 5;   // of scales, at most
  static constexpr int kScaleBytes = kScaling == Scaling::rows ? 0 : kRuns;
  static constexpr int kRingBytes = kStreamWarps * (kAhead * kBytes + (kAhead + 1) * kScaleBytes);
};

template <Format F, Operand kOperand, int kTokenTiles, Scaling kScaling>
__global__ void __launch_bounds__(kStreamThreads, kTokenTiles == 1 ? 2 : 1) stream_kernel(const Call call) {
  using Fam = Family<F, kOperand>;
  using Sum = typename Fam::Sum;
  using Step = StreamStep<F, kScaling>;
  constexpr int kXBytes = Fam::kXBytes;
  constexpr bool kGrouped = kScaling == Scaling::groups;
  constexpr float kFactor = Fam::template kFactor<kScaling>;
  extern __shared__ __align__(128) uint8_t ring[];
  __shared__ union Partial {
    __device__ Partial() {}
    float floats[kStreamWarps][8][kPairTiles * kTileRows + 1];
    int ints[kStreamWarps][8][kPairTiles * kTileRows + 1];
  } partial;

  let_next_start();
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  const int tiles = (call.rows + kTileRows - 1) / kTileRows, steps = call.padded_cols / Step::kColumns;
  const int begin = static_cast<int>(static_cast<int64_t>(tiles) * blockIdx.x / gridDim.x);
  const int end = static_cast<int>(static_cast<int64_t>(tiles) * (blockIdx.x + 1) / gridDim.x);
  const int first_token = blockIdx.y * kTokenTiles * 8, tokens = min(call.tokens - first_token, kTokenTiles * 8);
  uint8_t* const codes = ring + warp * Step::kAhead * Step::kBytes + lane * 16;
  uint8_t* const scales = ring + kStreamWarps * Step::kAhead * Step::kBytes + warp * (Step::kAhead + 1) * Step::kScaleBytes;
  const bool scale_units = kScaling != Scaling::rows && call.group_units % 2 != 0;
  const size_t row_bytes = static_cast<size_t>(call.padded_cols) * bits(F) / 8;

  // The steps of this warp for a pair of tiles; blocks begin at different ones, as all reading the same few lines of x at a
  // time would wait for one another.
  const int count = warp < steps ? (steps - 1 - warp) / kStreamWarps + 1 : 0;
  const int first_step = warp + static_cast<int>(static_cast<int64_t>(count) * blockIdx.x / gridDim.x) * kStreamWarps;
  const auto next = [&](int step) { return step + kStreamWarps < steps ? step + kStreamWarps : warp; };

  // What is fetched next.
  int fetch_tile = count > 0 ? begin : end, fetch_step = first_step, fetch_slot = 0, fetch_scales = 0;
  const auto fetch = [&] {
    if (fetch_tile < end) {
      const uint32_t to = static_cast<uint32_t>(__cvta_generic_to_shared(codes + fetch_slot * Step::kBytes));
#pragma unroll
      for (int m = 0; m < kPairTiles; m++) {
        if (fetch_tile + m >= end) continue;
        if constexpr (bits(F) == 4) {
          copy_async<16>(to + m * 512, call.codes + ((static_cast<size_t>(fetch_tile + m) * call.chunks + fetch_step) * 32 + lane) * 16);
        } else {
          const uint8_t* from = call.codes + (static_cast<size_t>(fetch_tile + m) * kTileRows + g) * row_bytes + fetch_step * 64 + c * 16;
          copy_async<128>(to + m * 1024, from);
          copy_async<128>(to + m * 1024 + 512, from + 8 * row_bytes);
        }
      }
      if constexpr (kScaling != Scaling::rows) {
        // Half a warp per tile copies the runs of the step's groups.
        const int m = lane / 16, piece = lane % 16, first = group_of(call, fetch_step * Step::kUnits);
        const int runs = group_of(call, fetch_step * Step::kUnits + Step::kUnits - 1) - first + 1;
        if (fetch_tile + m < end && piece * 16 < runs * call.scale_run) {
          copy_async<16>(static_cast<uint32_t>(__cvta_generic_to_shared(scales + fetch_scales * Step::kScaleBytes + m * (Step::kScaleBytes / 2) + piece * 16)),
                         call.scales + (static_cast<size_t>(fetch_tile + m) * call.groups + first) * call.scale_run + piece * 16);
        }
        fetch_scales = fetch_scales == Step::kAhead ? 0 : fetch_scales + 1;
      }
      fetch_slot = fetch_slot + 1 == Step::kAhead ? 0 : fetch_slot + 1;
      fetch_step = next(fetch_step);
      if (fetch_step == first_step) fetch_tile += kPairTiles;
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
#pragma unroll
  for (int i = 0; i < Step::kAhead; i++) fetch();
  wait_for_inputs();

  const uint8_t* x = static_cast<const uint8_t*>(call.x) + c * 16;
  const size_t x_row_bytes = static_cast<size_t>(call.padded_cols) * kXBytes;
  int slot = 0, scales_slot = 0;
  for (int tile = begin; tile < end; tile += kPairTiles) {
    const bool both = tile + 1 < end;
    Sum sum[kPairTiles][kTokenTiles][4] = {};
    float total[kPairTiles][kTokenTiles][4] = {};
    int step = first_step;
    for (int i = 0; i < count; i++, step = next(step)) {
      constexpr int kXVectors = Step::kUnits * 32 * kXBytes / 64;
      uint4 tokens_x[kTokenTiles][kXVectors];
#pragma unroll
      for (int t = 0; t < kTokenTiles; t++) {
        const uint8_t* from = x + min(first_token + t * 8 + g, call.tokens - 1) * x_row_bytes + static_cast<size_t>(step) * Step::kColumns * kXBytes;
#pragma unroll
        for (int v = 0; v < kXVectors; v++) tokens_x[t][v] = *reinterpret_cast<const uint4*>(from + v * 64);
      }
      asm volatile("cp.async.wait_group %0;" ::"n"(Step::kAhead - 1) : "memory");
      __syncwarp();
      ChunkWords<F> words[kPairTiles];
#pragma unroll
      for (int m = 0; m < kPairTiles; m++) {
#pragma unroll
        for (int v = 0; v < Step::kVectors; v++) {
          words[m].vectors[v] = *reinterpret_cast<const uint4*>(codes + slot * Step::kBytes + (m * Step::kVectors + v) * 512);
        }
      }
      const uint8_t* const runs = scales + scales_slot * Step::kScaleBytes;
      slot = slot + 1 == Step::kAhead ? 0 : slot + 1;
      scales_slot = scales_slot == Step::kAhead ? 0 : scales_slot + 1;
      fetch();

      const int first_group = kScaling == Scaling::rows ? 0 : group_of(call, step * Step::kUnits);
      uint32_t values[Step::kUnits][kTokenTiles][4];
      Sum x_sums[Step::kUnits][kTokenTiles][4] = {};
      const auto order = [&]<int kUnit>() {
#pragma unroll
        for (int t = 0; t < kTokenTiles; t++) {
          unit_of<kXBytes, kUnit>(tokens_x[t], values[kUnit][t]);
          Fam::order(values[kUnit][t]);
          if (!Fam::template sums_x<kScaling>(call)) continue;
          if (kUnit == 1 && !scale_units) {
#pragma unroll
            for (int e = 0; e < 2; e++) x_sums[kUnit][t][e] = x_sums[0][t][e];
          }
          Fam::add_x(x_sums[kUnit][t], values[kUnit][t]);
        }
      };
      order.template operator()<0>();
      if constexpr (Step::kUnits == 2) order.template operator()<1>();
#pragma unroll
      for (int m = 0; m < kPairTiles; m++) {
        if (m == 1 && !both) break;
        GroupFactors factors;
        const auto add = [&]<int kUnit>() {
          if (kUnit == 0 || scale_units) {
            const int group = kScaling == Scaling::rows ? 0 : group_of(call, step * Step::kUnits + kUnit) - first_group;
            load_factors<Fam, F, kScaling>(call, runs + m * (Step::kScaleBytes / 2) + group * call.scale_run, g, c, factors);
          }
          typename Fam::Weights weights;
          Fam::template decode<kUnit, kScaling>(words[m], factors, weights);
#pragma unroll
          for (int t = 0; t < kTokenTiles; t++) {
            Fam::multiply(sum[m][t], weights, values[kUnit][t]);
            if constexpr (kGrouped) {
              if (kUnit + 1 < Step::kUnits && !scale_units) continue;
#pragma unroll
              for (int e = 0; e < 4; e++) {
                Sum value = sum[m][t][e];
                if (Fam::template sums_x<kScaling>(call)) value -= Fam::zero(factors, e / 2) * x_sums[kUnit][t][e % 2];
                total[m][t][e] = fmaf(static_cast<float>(value) * kFactor, factors.scale[e / 2], total[m][t][e]);
                sum[m][t][e] = 0;
              }
            }
          }
        };
        add.template operator()<0>();
        if constexpr (Step::kUnits == 2) add.template operator()<1>();
      }
    }

#pragma unroll
    for (int t = 0; t < kTokenTiles; t++) {
      if (t > 0 && t * 8 >= tokens) break;
      __syncthreads();  // the sums of the tokens or tiles before are read
#pragma unroll
      for (int m = 0; m < kPairTiles; m++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const int token = c * 2 + e % 2, row = m * kTileRows + g + e / 2 * 8;
          if (t * 8 + token >= tokens) continue;
          if constexpr (kGrouped) {
            partial.floats[warp][token][row] = total[m][t][e];
          } else if constexpr (std::is_same_v<Sum, int>) {
            partial.ints[warp][token][row] = sum[m][t][e];
          } else {
            partial.floats[warp][token][row] = sum[m][t][e];
          }
        }
      }
      __syncthreads();
      const int in_tile = threadIdx.x / 32, token = t * 8 + in_tile, row = tile * kTileRows + lane;
      if (in_tile < 8 && token < tokens && row < call.rows && (lane < kTileRows || both)) {
        float value;
        if constexpr (!kGrouped && std::is_same_v<Sum, int>) {
          int exact = 0;
#pragma unroll
          for (int w = 0; w < kStreamWarps; w++) exact += partial.ints[w][in_tile][lane];
          value = static_cast<float>(exact);
        } else {
          value = 0;
#pragma unroll
          for (int w = 0; w < kStreamWarps; w++) value += partial.floats[w][in_tile][lane];
        }
        if constexpr (!kGrouped && bits(F) <= 8) value *= kFactor, value *= call.row_scales[row];
        const float bias = call.bias ? call.bias[row] : 0.0f;
        call.y[static_cast<size_t>(first_token + token) * call.rows + row] =
            fmaf(value, call.x_scales ? __ldcg(call.x_scales + first_token + token) : 1.0f, bias);
      }
    }
  }
}

template <Format F, Operand kOperand, int kTokenTiles, Scaling kScaling>
void launch_stream_sized(const Call& call, cudaStream_t stream) {
  const auto kernel = stream_kernel<F, kOperand, kTokenTiles, kScaling>;
  constexpr int kBytes = StreamStep<F, kScaling>::kRingBytes;
  // Once per process and device would do; the call costs less than a microsecond and is allowed while capturing.
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes), "linear stream: shared memory");
  const int tiles = (call.rows + kTileRows - 1) / kTileRows;
  const dim3 grid(static_cast<unsigned>(std::min(tiles, call.multiprocessors)),
                  static_cast<unsigned>((call.tokens + kTokenTiles * 8 - 1) / (kTokenTiles * 8)));
  launch("linear stream", kernel, grid, dim3(kStreamThreads), size_t{kBytes}, stream, call);
}

template <Format F, Operand kOperand, Scaling kScaling>
struct LaunchStream {
  static void run(const Call& call, cudaStream_t stream) {
    if (call.tokens <= 8) {
      launch_stream_sized<F, kOperand, 1, kScaling>(call, stream);
    } else if (call.tokens <= 16) {
      launch_stream_sized<F, kOperand, 2, kScaling>(call, stream);
    } else {
      launch_stream_sized<F, kOperand, 4, kScaling>(call, stream);
    }
  }
};

template <Format F, Operand kOperand>
void launch_stream(const Call& call, cudaStream_t stream) {
  launch_scaled<LaunchStream, F, kOperand>(call, stream);
}

}  // namespace kvant::cuda::linear
