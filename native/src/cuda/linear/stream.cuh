#pragma once
// y[t, n] = x_scale[t] * sum_g scale[n, g] * sum_{k in g} x[t, k] * w[n, k] + bias[n], for few tokens.
// x: [T, padded K] fp16, bf16 or int8   w: layout.h   y: float32 [T, N]
//
// One block per multiprocessor takes an even share of the tiles of 16 features, a few at a time. Its sixteen warps stand
// side by side over stages of some tiles x some chunks of 64 columns, one chunk of one tile each; a seventeenth keeps a ring
// of stages full, and fills it with weights before the activations are there. The sums of the warps of a tile are added in
// the order of the warps. Which sum an element belongs to depends on k and the matrix alone, so results are batch-invariant.
// Reads N * K codes and, mostly from the second-level cache, T * K activations per block and pass.
#include <algorithm>

#include "../launch.cuh"
#include "pipeline.cuh"
#include "tensor_core.cuh"

namespace kvant::cuda::linear {

constexpr int kStreamWarps = 16;
constexpr int kFp32Warps = 8;
constexpr int kStreamThreads = (kStreamWarps + 1) * 32;
// Of one block, so that one of the next kernel fits beside it.
constexpr int kRingBytes = 98304;
constexpr int kMaxStages = 16;

// How a stage lies in shared memory: codes, scales, x. Rows of 8 and 16 bit codes and of x are 64 bytes longer than they are
// full, so that eight lanes, which are four vectors of two rows, touch all banks once.
struct Ring {
  int column_warps;  // that stand side by side; kStreamWarps / column_warps tiles
  int passes_tiles;  // tiles of a stage
  int row_bytes;     // of codes and padding; 8 and 16 bit
  int x_row_bytes;
  int groups;        // of a tile that a stage has room for
  int scales_at, x_at, stage_bytes, stages;
};

template <Format F>
__device__ __forceinline__ void load_shared_chunk(const uint8_t* tile, int row_bytes, int column_warp, int lane, ChunkWords<F>& out) {
  if constexpr (bits(F) == 4) {
    out.vectors[0] = *reinterpret_cast<const uint4*>(tile + (column_warp * 32 + lane) * 16);
  } else {
    const uint8_t* at = tile + lane / 4 * row_bytes + column_warp * kChunkColumns * bits(F) / 8 + lane % 4 * 16;
#pragma unroll
    for (int i = 0; i < ChunkWords<F>::kVectors; i++) out.vectors[i] = *reinterpret_cast<const uint4*>(at + i % 2 * 8 * row_bytes + i / 2 * 64);
  }
}

__device__ __forceinline__ void sync_consumers() { asm volatile("bar.sync 1, %0;" ::"n"(kStreamWarps * 32) : "memory"); }

// The stages of a block in order: every stage of the columns for the first tiles, then for the next.
struct StageOrder {
  int tile, chunk;  // first ones
  __device__ __forceinline__ void next(const Call& call, const Ring& ring) {
    chunk += ring.column_warps;
    if (chunk >= call.chunks) chunk = 0, tile += ring.passes_tiles;
  }
};

template <Format F, Operand kOperand, int kTokenTiles, bool kGrouped>
__global__ void __launch_bounds__(kStreamThreads, kTokenTiles <= 2 ? 2 : 1) stream_kernel(const Call call, const Ring ring) {
  using Fam = Family<F, kOperand>;
  using Sum = typename Fam::Sum;
  constexpr int kXBytes = Fam::kXBytes;
  extern __shared__ __align__(128) uint8_t stages[];
  __shared__ union Partial {
    __device__ Partial() {}
    float floats[kStreamWarps][8][kTileRows + 1];
    int ints[kStreamWarps][8][kTileRows + 1];
  } partial;
  __shared__ uint64_t barriers[2 * kMaxStages];
  const uint32_t full = shared_address(barriers), empty = full + kMaxStages * 8;

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  const int tiles = (call.rows + kTileRows - 1) / kTileRows;
  const int begin = static_cast<int>(static_cast<int64_t>(tiles) * blockIdx.x / gridDim.x);
  const int end = static_cast<int>(static_cast<int64_t>(tiles) * (blockIdx.x + 1) / gridDim.x);
  const int first_token = blockIdx.y * kTokenTiles * 8, tokens = min(call.tokens - first_token, kTokenTiles * 8);
  let_next_start();
  if (threadIdx.x < ring.stages) {
    init_barrier(full + threadIdx.x * 8, 2 * kCopyArrivals);
    init_barrier(empty + threadIdx.x * 8, kStreamWarps);
    publish_barriers();
  }
  __syncthreads();

  if (warp == kStreamWarps) {
    const int steps = (end - begin + ring.passes_tiles - 1) / ring.passes_tiles * ((call.chunks + ring.column_warps - 1) / ring.column_warps);
    const auto fetch_weights = [&](const StageOrder& at, int slot) {
      const uint32_t to = shared_address(stages) + slot * ring.stage_bytes, barrier = full + slot * 8;
      const int stage_tiles = min(ring.passes_tiles, end - at.tile), chunks = min(ring.column_warps, call.chunks - at.chunk);
      const int runs = bits(F) == 4 ? stage_tiles : stage_tiles * kTileRows;
      const uint32_t bytes = bits(F) == 4 ? chunks * 512 : chunks * kChunkColumns * bits(F) / 8;
      int first_group = 0, groups = 0;
      if constexpr (kGrouped) {
        first_group = group_of(call, at.chunk * 2);
        groups = group_of(call, (at.chunk + chunks) * 2 - 1) - first_group + 1;
      }
      begin_copies(barrier, runs * bytes + stage_tiles * groups * kTileRows * 4, lane);
      if constexpr (bits(F) == 4) {
        copy_runs(to, ring.column_warps * 512, call.codes + (static_cast<size_t>(at.tile) * call.chunks + at.chunk) * 512,
                  static_cast<size_t>(call.chunks) * 512, runs, bytes, barrier, lane);
      } else {
        const size_t row_bytes = static_cast<size_t>(call.padded_cols) * bits(F) / 8;
        copy_runs(to, ring.row_bytes, call.codes + static_cast<size_t>(at.tile) * kTileRows * row_bytes + at.chunk * kChunkColumns * bits(F) / 8,
                  row_bytes, runs, bytes, barrier, lane);
      }
      if constexpr (kGrouped) {
        copy_runs(to + ring.scales_at, ring.groups * kTileRows * 4,
                  reinterpret_cast<const uint8_t*>(call.scales + (static_cast<size_t>(at.tile) * call.groups + first_group) * kTileRows),
                  static_cast<size_t>(call.groups) * kTileRows * 4, stage_tiles, groups * kTileRows * 4, barrier, lane);
      }
      end_copies(barrier);
    };
    const auto fetch_x = [&](const StageOrder& at, int slot) {
      const uint32_t to = shared_address(stages) + slot * ring.stage_bytes + ring.x_at, barrier = full + slot * 8;
      const uint32_t bytes = min(ring.column_warps, call.chunks - at.chunk) * kChunkColumns * kXBytes;
      const size_t row_bytes = static_cast<size_t>(call.padded_cols) * kXBytes;
      begin_copies(barrier, tokens * bytes, lane);
      copy_runs(to, ring.x_row_bytes, static_cast<const uint8_t*>(call.x) + first_token * row_bytes + at.chunk * kChunkColumns * kXBytes, row_bytes,
                tokens, bytes, barrier, lane);
      end_copies(barrier);
    };
    const int ahead = min(ring.stages, steps);
    StageOrder at = {begin, 0};
    for (int step = 0; step < ahead; step++, at.next(call, ring)) fetch_weights(at, step);
    wait_for_inputs();
    at = {begin, 0};
    for (int step = 0; step < ahead; step++, at.next(call, ring)) fetch_x(at, step);
    int slot = 0;
    uint32_t parity = 0;
    for (int step = ahead; step < steps; step++, at.next(call, ring)) {
      wait_barrier(empty + slot * 8, parity);
      fetch_weights(at, slot);
      fetch_x(at, slot);
      if (++slot == ring.stages) slot = 0, parity ^= 1;
    }
    return;
  }

  wait_for_inputs();
  const int column_warp = warp % ring.column_warps, in_stage = warp / ring.column_warps;
  // Groups of whole chunks are scaled once per chunk.
  const bool scale_units = kGrouped && call.group_units % 2 != 0;
  int slot = 0;
  uint32_t parity = 0;
  for (int first_tile = begin; first_tile < end; first_tile += ring.passes_tiles) {
    const int stage_tiles = min(ring.passes_tiles, end - first_tile);
    Sum sum[kTokenTiles][4] = {};
    float total[kTokenTiles][4] = {};
    for (int first_chunk = 0; first_chunk < call.chunks; first_chunk += ring.column_warps) {
      wait_barrier(full + slot * 8, parity);
      const int chunk = first_chunk + column_warp;
      if (in_stage < stage_tiles && chunk < call.chunks) {
        const uint8_t* stage = stages + slot * ring.stage_bytes;
        ChunkWords<F> words;
        load_shared_chunk<F>(stage + in_stage * (bits(F) == 4 ? ring.column_warps * 512 : kTileRows * ring.row_bytes), ring.row_bytes, column_warp,
                             lane, words);
        const float* scales_at = reinterpret_cast<const float*>(stage + ring.scales_at) + in_stage * ring.groups * kTileRows + g;
        const int first_group = kGrouped ? group_of(call, first_chunk * 2) : 0;
        const uint8_t* x = stage + ring.x_at + column_warp * kChunkColumns * kXBytes + c * 16;
        const auto add = [&]<int kUnit>() {
          typename Fam::Weights weights;
          Fam::template decode<kUnit>(words, weights);
          float scales[2];
          const bool scaled = kGrouped && (kUnit == 1 || scale_units);
          if (scaled) {
            const float* at = scales_at + (group_of(call, chunk * 2 + kUnit) - first_group) * kTileRows;
            scales[0] = at[0] * Fam::kFactor, scales[1] = at[8] * Fam::kFactor;
          }
#pragma unroll
          for (int t = 0; t < kTokenTiles; t++) {
            const uint8_t* from = x + min(t * 8 + g, tokens - 1) * ring.x_row_bytes;
            uint32_t values[4];
            if constexpr (kXBytes == 2) {
              const uint4 v = *reinterpret_cast<const uint4*>(from + kUnit * 64);
              values[0] = v.x, values[1] = v.y, values[2] = v.z, values[3] = v.w;
            } else {
              const uint2 v = *reinterpret_cast<const uint2*>(from + kUnit * 8);
              values[0] = v.x, values[1] = v.y;
            }
            Fam::multiply(sum[t], weights, values);
            if (scaled) {
#pragma unroll
              for (int e = 0; e < 4; e++) {
                total[t][e] = fmaf(static_cast<float>(sum[t][e]), scales[e / 2], total[t][e]);
                sum[t][e] = 0;
              }
            }
          }
        };
        add.template operator()<0>();
        add.template operator()<1>();
      }
      __syncwarp();
      if (lane == 0) arrive(empty + slot * 8);
      if (++slot == ring.stages) slot = 0, parity ^= 1;
    }

#pragma unroll
    for (int t = 0; t < kTokenTiles; t++) {
      if (t > 0 && t * 8 >= tokens) break;
      sync_consumers();  // the sums of the tokens or tiles before are read
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const int token = c * 2 + e % 2, row = g + e / 2 * 8;
        if constexpr (kGrouped) {
          partial.floats[warp][token][row] = total[t][e];
        } else if constexpr (std::is_same_v<Sum, int>) {
          partial.ints[warp][token][row] = sum[t][e];
        } else {
          partial.floats[warp][token][row] = sum[t][e];
        }
      }
      sync_consumers();
      for (int at = threadIdx.x; at < stage_tiles * 8 * kTileRows; at += kStreamWarps * 32) {
        const int in_tile = at / kTileRows % 8, in_rows = at % kTileRows, in_pass = at / (kTileRows * 8);
        const int token = t * 8 + in_tile, row = (first_tile + in_pass) * kTileRows + in_rows;
        if (token >= tokens || row >= call.rows) continue;
        float value;
        if constexpr (!kGrouped && std::is_same_v<Sum, int>) {
          int exact = 0;
          for (int w = 0; w < ring.column_warps; w++) exact += partial.ints[in_pass * ring.column_warps + w][in_tile][in_rows];
          value = static_cast<float>(exact);
        } else {
          value = 0;
          for (int w = 0; w < ring.column_warps; w++) value += partial.floats[in_pass * ring.column_warps + w][in_tile][in_rows];
        }
        if constexpr (!kGrouped && bits(F) <= 8) value *= Fam::kFactor, value *= call.scales[row];
        const float bias = call.bias ? call.bias[row] : 0.0f;
        call.y[static_cast<size_t>(first_token + token) * call.rows + row] =
            fmaf(value, call.x_scales ? __ldcg(call.x_scales + first_token + token) : 1.0f, bias);
      }
    }
  }
}

template <Format F, Operand kOperand>
Ring ring_of(const Call& call, int most_tokens, bool grouped) {
  const int tiles = (call.rows + kTileRows - 1) / kTileRows;
  const int share = (tiles + call.multiprocessors - 1) / call.multiprocessors;
  Ring ring{};
  ring.passes_tiles = share >= 3 ? 4 : share;
  ring.column_warps = kStreamWarps / ring.passes_tiles;
  const int columns = ring.column_warps * kChunkColumns;
  ring.row_bytes = columns * bits(F) / 8 + 64;
  ring.x_row_bytes = columns * Family<F, kOperand>::kXBytes + 64;
  ring.groups = grouped ? std::min((2 * ring.column_warps + call.group_units - 2) / call.group_units + 1, call.groups) : 0;
  ring.scales_at = bits(F) == 4 ? kStreamWarps * 512 : ring.passes_tiles * kTileRows * ring.row_bytes;
  ring.x_at = ring.scales_at + ring.passes_tiles * ring.groups * kTileRows * 4;
  ring.stage_bytes = ring.x_at + std::min(call.tokens, most_tokens) * ring.x_row_bytes;
  ring.stages = std::clamp(kRingBytes / ring.stage_bytes, 2, kMaxStages);
  return ring;
}

template <Format F, Operand kOperand, int kTokenTiles, bool kGrouped>
void launch_stream_sized(const Call& call, cudaStream_t stream) {
  const auto kernel = stream_kernel<F, kOperand, kTokenTiles, kGrouped>;
  const Ring ring = ring_of<F, kOperand>(call, kTokenTiles * 8, kGrouped);
  const int bytes = ring.stages * ring.stage_bytes;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), "linear stream: shared memory");
  const int tiles = (call.rows + kTileRows - 1) / kTileRows;
  const dim3 grid(static_cast<unsigned>(std::min(tiles, call.multiprocessors)),
                  static_cast<unsigned>((call.tokens + kTokenTiles * 8 - 1) / (kTokenTiles * 8)));
  launch("linear stream", kernel, grid, dim3(kStreamThreads), static_cast<size_t>(bytes), stream, call, ring);
}

template <Format F, Operand kOperand, bool kGrouped>
void launch_stream_of(const Call& call, cudaStream_t stream) {
  if (call.tokens <= 8) {
    launch_stream_sized<F, kOperand, 1, kGrouped>(call, stream);
  } else if (call.tokens <= 16) {
    launch_stream_sized<F, kOperand, 2, kGrouped>(call, stream);
  } else {
    launch_stream_sized<F, kOperand, 8, kGrouped>(call, stream);
  }
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
