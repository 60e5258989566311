#pragma once
// What the products on the tensor cores of compute capability 9.0 share (warpgroup.cuh, warpgroup_split.cuh): stages of shared memory, what
// a block makes of the product, and how codes and scales come to a stage. warpgroup_weights.cuh multiplies them, warpgroup_results.cuh
// leaves the sums.
//
// A block makes 128 features, a warp 16 of them, an iteration takes 128 columns and a stage of a ring. Codes lie in it as the lanes that
// decode them take them.
#include "../columns.cuh"
#include "../warpgroup_steps.cuh"
#include "stream.cuh"

namespace kvant::cuda::linear::warpgroup {

constexpr int kFeatures = 128, kUnits = 4, kChunks = kUnits / 2, kThreads = 256;
constexpr int kStepTokens = 64;                            // of one wgmma
constexpr int kMostShares = 8, kMinIterationsPerShare = 4;  // of the blocks of a cluster that share columns
constexpr int kMostScaleVectors = 5;                       // of 16 bytes, of a group of a tile: float32 scales and zero points

// One stage of a block of `kOf` tokens, as many as have room in `kRoom` bytes. Sums are scaled every kRun units, which is 1, 2 or 4 and
// divides the units of a group: branches that depend on the group would keep tensor cores and scaling from overlapping.
template <Format F, Operand kOperand, int kRun, int kOf, int kRoom>
struct Stage {
  static constexpr int kTokens = kOf, kRuns = kUnits / kRun;
  static constexpr int kXBytes = kOperand == Operand::int8 ? 1 : 2;
  static constexpr int kSteps = kOperand == Operand::int8 ? 1 : 2;  // of a unit
  static constexpr int kPanel = kTokens * 128;                      // rows of 128 bytes, as wgmma takes them
  static constexpr int kXStageBytes = kPanel * kXBytes, kCodeBytes = kFeatures * kUnits * kUnitColumns * bits(F) / 8;
  static constexpr int kScaleBytes = kRuns * kMostScaleVectors * 16;  // of a warp's tile
  static constexpr int kScalesAt = kXStageBytes + kCodeBytes, kBarriersAt = kScalesAt + kThreads / 32 * kScaleBytes;
  static constexpr int kBytes = (kBarriersAt + 16 + 1023) / 1024 * 1024;  // stages begin at multiples of 1024
  static constexpr int kStages = std::min(6, kRoom / kBytes), kSharedBytes = kStages * kBytes + 1024;
  static_assert(kStages >= 3 && kStages * kBytes >= kThreads * kTokens / kStepTokens * 32 * 4);  // the sums that shares exchange
};

#ifdef KVANT_WARPGROUP

// Where the first stage begins in shared memory.
__device__ __forceinline__ uint32_t first_stage(const uint8_t* shared_bytes) {
  return (static_cast<uint32_t>(__cvta_generic_to_shared(shared_bytes)) + 1023) & ~1023u;
}

// What a block makes: tokens and features from these on, and this part of an iteration's columns.
struct Share {
  int rank, first_token, first_feature, first_chunk, iterations;

  __device__ __forceinline__ Share(const Call& call, int block_tokens) {
    int token_block;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    asm("mov.u32 %0, %%clusterid.x;" : "=r"(token_block));
    first_token = token_block * block_tokens;
    first_feature = static_cast<int>(blockIdx.y) * kFeatures;
    const int all = (call.chunks + kChunks - 1) / kChunks, begin = all * rank / call.splits;
    first_chunk = begin * kChunks;
    iterations = all * (rank + 1) / call.splits - begin;
  }
};

__device__ __forceinline__ void copy_async(uint32_t to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

// What one of kFetchers threads brings to shared memory of codes and scales, for any of the block's threads. Iterations come one after the
// other; chunks and groups that are not there become zeros.
template <class Shape, Format F, int kRun, bool kHasFactors, int kFetchers>
struct WeightFetcher {
  static constexpr int kTileVectors = kTileRows * kUnits * kUnitColumns * bits(F) / 8 / 16;  // of codes
  static constexpr int kPassTiles = kFetchers / kTileVectors, kTiles = kFeatures / kTileRows, kWarps = kFetchers / 32;

  const uint8_t *codes, *scales;      // of the next iteration; scales: of the first tile, the thread's vector
  size_t code_tiles;                  // from tile to tile + kPassTiles of codes
  uint32_t codes_to, scales_to;       // in the stage at 0
  int chunks, chunk;                  // left; of the thread's codes, of an iteration's
  int group, unit_in_group;           // whose scales the thread brings
  bool has_scales;

  __device__ __forceinline__ WeightFetcher(const Call& call, const Share& share, int thread, uint32_t shared) {
    const int first_tile = share.first_feature / kTileRows, tile = thread / kTileVectors, at = thread % kTileVectors;
    const size_t code_row = static_cast<size_t>(call.padded_cols) * bits(F) / 8;
    chunks = call.chunks - share.first_chunk;
    // Of a lane's vectors (layout.h): chunk, then rows g and g + 8 of 8-bit codes.
    codes = call.codes + (first_tile + tile) * kTileRows * code_row;
    codes_to = shared + Shape::kXStageBytes + tile * 32 * 16;
    if constexpr (bits(F) == 4) {
      chunk = at / 32;
      codes += share.first_chunk * 32 * 16 + at * 16;
      codes_to += chunk * kThreads * 16 + at % 32 * 16;
    } else {
      const int in_tile = at / 8, c = at % 4;
      chunk = at % 8 / 4;
      codes += in_tile * code_row + share.first_chunk * kChunkColumns + at % 8 * 16;
      codes_to += (chunk * 2 + in_tile / 8) * kThreads * 16 + (in_tile % 8 * 4 + c) * 16;
    }
    code_tiles = kPassTiles * kTileRows * code_row;
    if constexpr (kHasFactors) {
      const int vectors = call.scale_run / 16, run = thread % 32 / vectors, v = thread % 32 - run * vectors, warp = thread / 32;
      const int unit = share.first_chunk * 2 + run * kRun;
      has_scales = run < Shape::kRuns;
      group = unbounded_group_of(call, unit), unit_in_group = unit - group * call.group_units;
      scales = call.scales + static_cast<size_t>(first_tile + warp) * call.groups * call.scale_run + v * 16;
      scales_to = shared + Shape::kScalesAt + warp * Shape::kScaleBytes + (run * kMostScaleVectors + v) * 16;
    }
  }

  __device__ __forceinline__ void fetch(const Call& call, uint32_t stage) const {
#pragma unroll
    for (int tile = 0; tile < kTiles; tile += kPassTiles) {
      copy_async(codes_to + stage + tile * 32 * 16, codes + tile / kPassTiles * code_tiles, chunk < chunks ? 16 : 0);
    }
    if constexpr (kHasFactors) {
      if (!has_scales) return;
      // Past the last group zeros of x follow, to which an infinite scale would not leave their zero.
      const int bytes = group < call.groups ? 16 : 0;
      const uint8_t* const from = scales + static_cast<unsigned>(min(group, call.groups - 1) * call.scale_run);
#pragma unroll
      for (int tile = 0; tile < kTiles; tile += kWarps) {
        copy_async(scales_to + stage + tile * Shape::kScaleBytes, from + static_cast<size_t>(tile) * call.groups * call.scale_run, bytes);
      }
    }
  }

  __device__ __forceinline__ void advance(const Call& call) {
    codes += kChunks * (bits(F) == 4 ? 32 * 16 : kChunkColumns);
    chunks -= kChunks;
    if constexpr (kHasFactors) {
      for (unit_in_group += kUnits; unit_in_group >= call.group_units; unit_in_group -= call.group_units) group++;
    }
  }
};
#endif

}  // namespace kvant::cuda::linear::warpgroup
