#pragma once
// y[t, n] = x_scale[t] * sum_g scale[n, g] * sum_{k in g} x[t, k] * (code[n, k] - zero[n, g]) + bias[n], for 17 to 256 tokens, on the
// tensor cores of compute capability 9.0.  x: [T, padded K] fp16, bf16 or int8 in paired order, int8 that meets int4 without zero points
// interleaved too (PreparedForm)   w: 8 or 4 bits, layout.h   y: float32 [T, N]
//
// A block makes 128 features x 64 tokens, a warp 16 features. Codes and x go through kStages buffers of shared memory by cp.async; a
// lane reads back the codes that it fetched and decodes them into what wgmma takes from registers. A multiprocessor has two blocks,
// so that one decodes and scales while the tensor cores work for the other.
// Where features and tokens give too few blocks, those of a cluster share the columns: their sums meet in shared memory and are added
// in ascending order of columns. Not batch-invariant: the number of shares follows the number of tokens.
// Reads N * K codes T / 64 times and T * K activations N / 128 times, the latter from the second-level cache.
#include "warpgroup_int8.cuh"

namespace kvant::cuda::linear {
namespace warpgroup_split {

constexpr int kTokens = 64, kUnits = 4, kChunks = kUnits / 2, kThreads = 256, kMostShares = 8, kMinIterationsPerShare = 4;
static_assert(kMostSplitTokens < kManyTokens);  // whose results are float32
using warpgroup::kFeatures;

constexpr int kMostScaleVectors = 5;  // of 16 bytes, of a group of a tile: float32 scales and zero points

template <Format F, Operand kOperand, int kRuns>
struct Stage {
  static constexpr int kXBytes = kOperand == Operand::int8 ? 1 : 2;
  static constexpr int kPanel = kTokens * 128;  // rows of 128 bytes, as wgmma takes them
  static constexpr int kXStageBytes = kPanel * kXBytes, kCodeBytes = kFeatures * kUnits * kUnitColumns * bits(F) / 8;
  static constexpr int kScaleBytes = kRuns * kMostScaleVectors * 16;      // of a warp's tile
  static constexpr int kScalesAt = kXStageBytes + kCodeBytes;
  static constexpr int kBytes = (kScalesAt + kThreads / 32 * kScaleBytes + 1023) / 1024 * 1024;  // stages begin at multiples of 1024
  // Two blocks find room in a multiprocessor of 228 KiB, each with 4 KiB beside: the system's, Edges, and what aligns stages.
  static constexpr int kStages = std::min(6, 110 * 1024 / kBytes), kSharedBytes = kStages * kBytes + 1024;
  static_assert(kStages * kBytes >= kThreads * 32 * 4);                   // the sums that shares exchange
};

#ifdef KVANT_WARPGROUP

__device__ __forceinline__ void copy_async(uint32_t to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

// What a thread brings to shared memory: some vectors of x, and the codes of its lane, which only it reads. Iterations come one
// after the other; tokens and chunks that are not there become zeros.
template <Format F, Operand kOperand, int kRun, bool kHasFactors>
struct Fetcher {
  static constexpr int kRuns = kUnits / kRun;
  using Shape = Stage<F, kOperand, kRuns>;
  static constexpr int kXBytes = Shape::kXBytes, kRows = kThreads / 8, kVectors = ChunkWords<F>::kVectors;

  const uint8_t *x, *codes;  // of the next iteration
  size_t x_rows, code_rows;  // from row to row + kRows of x, from row g to g + 8 of codes
  const uint8_t* scales;     // of the tile, this lane's vector
  uint32_t x_to, codes_to, scales_to;  // in the stage at 0
  int x_bytes[kTokens / kRows];
  int chunks;      // left
  int scale_unit;  // whose scales the lane brings
  bool has_scales;

  __device__ __forceinline__ Fetcher(const Call& call, int tile, int first_token, int first_chunk, uint32_t shared) {
    const int lane = threadIdx.x % 32, row = threadIdx.x / 8, vector = threadIdx.x % 8;
    const size_t x_row = static_cast<size_t>(call.padded_cols) * kXBytes, code_row = static_cast<size_t>(call.padded_cols) * bits(F) / 8;
    x = static_cast<const uint8_t*>(call.x) + (first_token + row) * x_row + first_chunk * (kChunkColumns * kXBytes) + vector * 16;
    codes = call.codes + tile * kTileRows * code_row + (bits(F) == 4 ? lane * 16 : lane / 4 * code_row + lane % 4 * 16) +
        first_chunk * (bits(F) == 4 ? 32 * 16 : kChunkColumns);
    x_rows = kRows * x_row, code_rows = 8 * code_row;
    x_to = shared + row * 128 + ((vector ^ (row & 7)) << 4);
    codes_to = shared + Shape::kXStageBytes + threadIdx.x * 16;
#pragma unroll
    for (int i = 0; i < kTokens / kRows; i++) x_bytes[i] = first_token + row + i * kRows < call.tokens ? 16 : 0;
    chunks = call.chunks - first_chunk;
    if constexpr (kHasFactors) {
      const int vectors = call.scale_run / 16, run = lane / vectors, v = lane - run * vectors;
      has_scales = run < kRuns;
      scale_unit = first_chunk * 2 + run * kRun;
      scales = call.scales + static_cast<size_t>(tile) * call.groups * call.scale_run + v * 16;
      scales_to = shared + Shape::kScalesAt + static_cast<int>(threadIdx.x) / 32 * Shape::kScaleBytes + (run * kMostScaleVectors + v) * 16;
    }
  }

  __device__ __forceinline__ void fetch_weights(const Call& call, uint32_t stage) {
#pragma unroll
    for (int i = 0; i < kChunks; i++) {
#pragma unroll
      for (int v = 0; v < kVectors; v++) {
        copy_async(codes_to + stage + (i * kVectors + v) * kThreads * 16, codes + i * (bits(F) == 4 ? 32 * 16 : kChunkColumns) + v * code_rows,
                   i < chunks ? 16 : 0);
      }
    }
    if constexpr (kHasFactors) {
      if (has_scales) copy_async(scales_to + stage, scales + static_cast<unsigned>(group_of(call, scale_unit) * call.scale_run), 16);
    }
  }

  __device__ __forceinline__ void fetch_x(uint32_t stage) {
#pragma unroll
    for (int panel = 0; panel < kXBytes; panel++) {
      const bool is_there = (kXBytes == 2 ? panel : static_cast<int>(threadIdx.x % 8 / 4)) < chunks;
#pragma unroll
      for (int i = 0; i < kTokens / kRows; i++) {
        copy_async(x_to + stage + panel * Shape::kPanel + i * kRows * 128, x + panel * 128 + i * x_rows, is_there ? x_bytes[i] : 0);
      }
    }
  }

  __device__ __forceinline__ void advance() {
    x += kChunks * kChunkColumns * kXBytes;
    codes += kChunks * (bits(F) == 4 ? 32 * 16 : kChunkColumns);
    chunks -= kChunks, scale_unit += kUnits;
  }
};

__device__ __forceinline__ float load_remote(uint32_t shared, int rank) {
  float value;
  asm volatile("{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %1, %2;\nld.shared::cluster.f32 %0, [there];\n}"
               : "=f"(value)
               : "r"(shared), "r"(rank)
               : "memory");
  return value;
}
#endif

// Sums are scaled every kRun units, which is 1, 2 or 4 and divides the units of a group.
template <Format F, Operand kOperand, Scaling kScaling, int kRun>
__global__ void __launch_bounds__(kThreads, 2) warpgroup_split_kernel(const Call call) {
#ifdef KVANT_WARPGROUP
  using Fam = Family<F, kOperand>;
  using Shape = Stage<F, kOperand, kUnits / kRun>;
  using Sum = typename Fam::Sum;
  constexpr bool kInt8 = kOperand == Operand::int8, kGrouped = is_grouped(kScaling), kHasFactors = kScaling != Scaling::rows;
  constexpr int kRuns = kUnits / kRun, kSteps = kInt8 ? 1 : 2, kStages = Shape::kStages;
  constexpr float kFactor = Fam::template kFactor<kScaling>;
  extern __shared__ uint8_t shared_bytes[];
  __shared__ warpgroup::Edges<kTokens> edges;
  const uint32_t shared = (static_cast<uint32_t>(__cvta_generic_to_shared(shared_bytes)) + 1023) & ~1023u;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  const int first_feature = static_cast<int>(blockIdx.y) * kFeatures, tile = first_feature / kTileRows + warp;
  int share, token_block;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(share));
  asm("mov.u32 %0, %%clusterid.x;" : "=r"(token_block));
  const int first_token = token_block * kTokens;
  const int iterations = (call.chunks + kChunks - 1) / kChunks;
  const int begin = iterations * share / call.splits, count = iterations * (share + 1) / call.splits - begin;

  Sum sums[32] = {};
  float totals[kGrouped ? 32 : 1] = {};
  uint32_t operands[kUnits][kSteps][4];
  GroupFactors factors[kRuns] = {};

  let_next_start();
  Fetcher<F, kOperand, kRun, kHasFactors> ahead(call, tile, first_token, begin * kChunks, shared), fetcher = ahead;
  const uint32_t own_codes = fetcher.codes_to;
  const uint8_t* const own_scales = shared_bytes + (shared - static_cast<uint32_t>(__cvta_generic_to_shared(shared_bytes))) + Shape::kScalesAt + warp * Shape::kScaleBytes;
#pragma unroll
  for (int i = 0; i < kStages - 1; i++, ahead.advance()) {
    if (i < count) ahead.fetch_weights(call, i * Shape::kBytes);
  }
  edges.fetch_rows(call, first_feature, !kGrouped);
  wait_for_inputs();
  edges.fetch_tokens(call, first_token);
#pragma unroll
  for (int i = 0; i < kStages - 1; i++, fetcher.advance()) {
    if (i < count) fetcher.fetch_x(i * Shape::kBytes);
    asm volatile("cp.async.commit_group;");
  }

  uint32_t stage = 0, free_stage = (kStages - 1) * Shape::kBytes;
  const auto next_stage = [](uint32_t at) { return at == (kStages - 1) * Shape::kBytes ? 0 : at + Shape::kBytes; };
  for (int i = 0; i < count; i++, stage = next_stage(stage), free_stage = next_stage(free_stage)) {
    asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 2) : "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    if (i + kStages - 1 < count) {
      fetcher.fetch_weights(call, free_stage);
      fetcher.fetch_x(free_stage);
      fetcher.advance();
    }
    asm volatile("cp.async.commit_group;");
    const uint32_t x = shared + stage;
    if constexpr (kHasFactors) {
#pragma unroll
      for (int run = 0; run < kRuns; run++) {
        load_factors<Fam, F, kScaling, Held::shared>(call, own_scales + stage + run * kMostScaleVectors * 16, g, c, factors[run]);
      }
    }
    ChunkWords<F> words[kChunks];
#pragma unroll
    for (int chunk = 0; chunk < kChunks; chunk++) {
#pragma unroll
      for (int v = 0; v < ChunkWords<F>::kVectors; v++) {
        uint4& to = words[chunk].vectors[v];
        asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
                     : "=r"(to.x), "=r"(to.y), "=r"(to.z), "=r"(to.w)
                     : "r"(own_codes + stage + (chunk * ChunkWords<F>::kVectors + v) * kThreads * 16));
      }
    }
#pragma unroll
    for (int unit = 0; unit < kUnits; unit++) {
      const auto decode = [&]<int kUnit>() {
        if constexpr (kInt8 && kScaling != Scaling::zeros) {
          typename Fam::Weights weights;
          Fam::template decode<kUnit, kScaling>(words[unit / 2], factors[unit / kRun], weights);
#pragma unroll
          for (int row = 0; row < 2; row++) operands[unit][0][row] = weights.row[row][0], operands[unit][0][2 + row] = weights.row[row][1];
        } else if constexpr (kInt8) {
#pragma unroll
          for (int row = 0; row < 2; row++) {
            uint32_t held[bits(F) / 4], columns[2];
            words[unit / 2].template eight<kUnit>(row, held);
            warpgroup::eight_columns<F>(held, factors[unit / kRun].zero[row], columns);
            operands[unit][0][row] = columns[0], operands[unit][0][2 + row] = columns[1];
          }
        } else {
          typename Fam::Weights weights;
          Fam::template decode<kUnit, kScaling>(words[unit / 2], factors[unit / kRun], weights);
#pragma unroll
          for (int i = 0; i < kSteps; i++) {
            operands[unit][i][0] = weights.row[0][2 * i], operands[unit][i][1] = weights.row[1][2 * i];
            operands[unit][i][2] = weights.row[0][2 * i + 1], operands[unit][i][3] = weights.row[1][2 * i + 1];
          }
        }
      };
      if (unit % 2 == 0) decode.template operator()<0>();
      else decode.template operator()<1>();
    }

#pragma unroll
    for (int run = 0; run < kRuns; run++) {
      warpgroup_begin();
#pragma unroll
      for (int at = 0; at < kRun * kSteps; at++) {
        const int unit = run * kRun + at / kSteps;
        if constexpr (kInt8) {
          warpgroup::step(sums, operands[unit][0], swizzled_operand(x + unit * 32), at > 0);
        } else {
          warpgroup::step<kOperand>(sums, operands[unit][at % 2], swizzled_operand(x + unit / 2 * Shape::kPanel + unit % 2 * 64 + at % 2 * 32),
                                    !kGrouped || at > 0);
        }
      }
      warpgroup_commit();
      warpgroup_wait<0>();
      if constexpr (kGrouped) {
#pragma unroll
        for (int i = 0; i < 32; i++) {
          // The factor of integers is 1/16 at least and spares a product where it meets the scale; that of floats might overflow there.
          const float value = static_cast<float>(sums[i]), scale = factors[run].scale[i % 4 / 2];
          totals[i] = kInt8 ? fmaf(value, scale * kFactor, totals[i]) : fmaf(value * kFactor, scale, totals[i]);
        }
      }
    }
  }

  const auto own = [&](int at) { return kGrouped ? totals[kGrouped ? at : 0] : static_cast<float>(sums[at]); };
  const auto leave = [&](int at, float value) {
    const int row = warp * kTileRows + g + at / 2 % 2 * 8, column = at / 4 * 8 + c * 2 + at % 2;
    const int feature = first_feature + row, token = first_token + column;
    if (feature >= call.rows || token >= call.tokens) return;
    if constexpr (!kGrouped) value *= kFactor * edges.row_scales[row];
    call.y[static_cast<size_t>(token) * call.rows + feature] = fmaf(value, edges.x_scales[column], edges.biases[row]);
  };
  if (call.splits == 1) {
#pragma unroll
    for (int at = 0; at < 32; at++) leave(at, own(at));
    return;
  }
  __syncthreads();
  const uint32_t part = shared + threadIdx.x * 4;
#pragma unroll
  for (int at = 0; at < 32; at++) asm volatile("st.shared.f32 [%0], %1;" ::"r"(part + at * kThreads * 4), "f"(own(at)) : "memory");
  asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
  // Several at a time: what lies in another block's memory is as far away as the second-level cache.
  constexpr int kBatch = 4;
  for (int first = share; first < 32; first += kBatch * call.splits) {
    float parts[kBatch][kMostShares];
#pragma unroll
    for (int i = 0; i < kBatch; i++) {
#pragma unroll
      for (int from = 0; from < kMostShares; from++) {
        const int at = first + i * call.splits;
        parts[i][from] = from < call.splits && at < 32 ? load_remote(part + at * kThreads * 4, from) : 0;
      }
    }
#pragma unroll
    for (int i = 0; i < kBatch; i++) {
      float value = parts[i][0];
#pragma unroll
      for (int from = 1; from < kMostShares; from++) value += parts[i][from];
      if (first + i * call.splits < 32) leave(first + i * call.splits, value);
    }
  }
  asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");  // nobody ends while others read its sums
#else
  __trap();  // find_warpgroup_product() asks launches_overlap() first
#endif
}

}  // namespace warpgroup_split

template <Format F, Operand kOperand, Scaling kScaling, int kRun>
void launch_warpgroup_split_of(const Call& call, cudaStream_t stream) {
  using namespace warpgroup_split;
  const auto kernel = warpgroup_split_kernel<F, kOperand, kScaling, kRun>;
  constexpr int kBytes = Stage<F, kOperand, kUnits / kRun>::kSharedBytes;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes), "linear warpgroup split: shared memory");
  const int token_blocks = (call.tokens + kTokens - 1) / kTokens, feature_blocks = (call.rows + kFeatures - 1) / kFeatures;
  const int iterations = (call.chunks + kChunks - 1) / kChunks;
  Call parted = call;
  // A cluster's blocks lie on neighbouring multiprocessors: of two blocks to each some find no room in a first wave. (H100: where 5 in 3
  // are asked for, the products of a layer of int4 with 64 tokens take 80 us, where 2 are, 105.)
  const int blocks = call.multiprocessors * 5 / 3, most = std::clamp(iterations / kMinIterationsPerShare, 1, kMostShares);
  parted.splits = std::clamp(blocks / (token_blocks * feature_blocks), 1, most);
  const dim3 grid(static_cast<unsigned>(token_blocks * parted.splits), static_cast<unsigned>(feature_blocks));
  launch_as({.cluster = static_cast<unsigned>(parted.splits)}, "linear warpgroup split", kernel, grid, dim3(kThreads), kBytes, stream, parted);
}

template <Format F, Operand kOperand>
void launch_warpgroup_split(const Call& call, cudaStream_t stream) {
  if constexpr (kOperand != Operand::int8 && bits(F) == 8) {
    if (call.scaling == Scaling::rows) return launch_warpgroup_split_of<F, kOperand, Scaling::rows, 4>(call, stream);
  }
  if constexpr (F == Format::e2m1) {
    if (call.scaling == Scaling::codes) return launch_warpgroup_split_of<F, kOperand, Scaling::codes, 1>(call, stream);
  }
  const auto start = [&]<Scaling kScaling>() {
    if (call.group_units % 4 == 0) return launch_warpgroup_split_of<F, kOperand, kScaling, 4>(call, stream);
    if (call.group_units % 2 == 0) return launch_warpgroup_split_of<F, kOperand, kScaling, 2>(call, stream);
    launch_warpgroup_split_of<F, kOperand, kScaling, 1>(call, stream);
  };
  constexpr bool kIntegers = F == Format::int8 || F == Format::int4;
  if constexpr (kIntegers && kOperand != Operand::int8) {
    // Code that takes zero points off serves groups without them too.
    start.template operator()<Scaling::zeros>();
  } else {
    if constexpr (F == Format::int4) {
      if (call.scaling == Scaling::zeros) return start.template operator()<Scaling::zeros>();
    }
    start.template operator()<Scaling::groups>();
  }
}

}  // namespace kvant::cuda::linear
