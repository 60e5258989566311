#pragma once
// y[t, n] = x_scale[t] * sum_g scale[n, g] * sum_{k in g} x[t, k] * (code[n, k] - zero[n, g]) + bias[n], for 17 to 128 tokens, on the
// tensor cores of compute capability 9.0.  x: [T, padded K] fp16, bf16 or int8 in paired order, int8 that meets int4 without zero points
// interleaved too (PreparedForm)   w: 8 or 4 bits, layout.h   y: [T, N] float32
//
// A block makes 128 features x 64 tokens (warpgroup_stage.cuh). A multiprocessor has two blocks, so that one decodes and scales while the
// tensor cores work for the other.
// Where features and tokens give too few blocks, those of a cluster share the columns: their sums meet in shared memory and are added
// in ascending order of columns. Not batch-invariant: the number of shares follows the number of tokens.
// Reads N * K codes T / 64 times and T * K activations N / 128 times, the latter from the second-level cache.
#include "warpgroup_results.cuh"
#include "warpgroup_weights.cuh"

namespace kvant::cuda::linear {
namespace warpgroup {

static_assert(kMostSplitTokens < kManyTokens);  // whose results are float32

// Two blocks find room in a multiprocessor of 228 KiB, each with 4 KiB beside: the system's, Edges, and what aligns stages.
template <Format F, Operand kOperand, int kRun>
using SplitStage = Stage<F, kOperand, kRun, kStepTokens, 110 * 1024>;

#ifdef KVANT_WARPGROUP
// What a thread brings to shared memory of x. Tokens and chunks that are not there become zeros.
template <class Shape>
struct RowFetcher {
  static constexpr int kXBytes = Shape::kXBytes, kRows = kThreads / 8, kPasses = Shape::kTokens / kRows;

  const uint8_t* from;  // of the next iteration
  size_t rows;          // from row to row + kRows
  uint32_t to;          // in the stage at 0
  int bytes[kPasses], chunks;  // left

  __device__ __forceinline__ RowFetcher(const Call& call, const Share& share, uint32_t shared) {
    const int row = threadIdx.x / 8, vector = threadIdx.x % 8;
    const size_t row_bytes = static_cast<size_t>(call.padded_cols) * kXBytes;
    from = static_cast<const uint8_t*>(call.x) + (share.first_token + row) * row_bytes + share.first_chunk * (kChunkColumns * kXBytes) + vector * 16;
    rows = kRows * row_bytes;
    to = shared + row * 128 + ((vector ^ (row & 7)) << 4);
#pragma unroll
    for (int i = 0; i < kPasses; i++) bytes[i] = share.first_token + row + i * kRows < call.tokens ? 16 : 0;
    chunks = call.chunks - share.first_chunk;
  }

  __device__ __forceinline__ void fetch(uint32_t stage) const {
#pragma unroll
    for (int panel = 0; panel < kXBytes; panel++) {
      const bool is_there = (kXBytes == 2 ? panel : static_cast<int>(threadIdx.x % 8 / 4)) < chunks;
#pragma unroll
      for (int i = 0; i < kPasses; i++) {
        copy_async(to + stage + panel * Shape::kPanel + i * kRows * 128, from + panel * 128 + i * rows, is_there ? bytes[i] : 0);
      }
    }
  }

  __device__ __forceinline__ void advance() { from += kChunks * kChunkColumns * kXBytes, chunks -= kChunks; }
};
#endif

// Sums are scaled every kRun units, which is 1, 2 or 4 and divides the units of a group.
template <Format F, Operand kOperand, Scaling kScaling, int kRun>
__global__ void __launch_bounds__(kThreads, 2) warpgroup_split_kernel(const Call call) {
#ifdef KVANT_WARPGROUP
  using Fam = Family<F, kOperand>;
  using Shape = SplitStage<F, kOperand, kRun>;
  constexpr bool kGrouped = is_grouped(kScaling);
  constexpr int kStages = Shape::kStages;
  constexpr float kFactor = Fam::template kFactor<kScaling>;
  extern __shared__ uint8_t shared_bytes[];
  __shared__ Edges<kStepTokens> edges;
  const uint32_t shared = first_stage(shared_bytes);
  const Share share(call, kStepTokens);

  typename Fam::Sum sums[32] = {};
  float totals[kGrouped ? 32 : 1] = {};
  const Weights<Shape, F, kOperand, kScaling, kRun> weights(shared_bytes, shared);
  uint32_t operands[kUnits][Shape::kSteps][4];
  GroupFactors factors[Shape::kRuns] = {};

  let_next_start();
  WeightFetcher<Shape, F, kRun, kScaling != Scaling::rows, kThreads> codes(call, share, threadIdx.x, shared);
  RowFetcher<Shape> x(call, share, shared);
#pragma unroll
  for (int i = 0; i < kStages - 1; i++, codes.advance(call)) {
    if (i < share.iterations) codes.fetch(call, i * Shape::kBytes);
  }
  edges.fetch_rows(call, share.first_feature, !kGrouped);
  wait_for_inputs();
  edges.fetch_tokens(call, share.first_token);
#pragma unroll
  for (int i = 0; i < kStages - 1; i++, x.advance()) {
    if (i < share.iterations) x.fetch(i * Shape::kBytes);
    asm volatile("cp.async.commit_group;");
  }

  Ring<Shape::kStages, Shape::kBytes> now, free;
  free.stage = kStages - 1, free.at = (kStages - 1) * Shape::kBytes;
  for (int i = 0; i < share.iterations; i++, now.advance(), free.advance()) {
    asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 2) : "memory");
    publish_operands();
    __syncthreads();
    if (i + kStages - 1 < share.iterations) {
      codes.fetch(call, free.at);
      codes.advance(call);
      x.fetch(free.at);
      x.advance();
    }
    asm volatile("cp.async.commit_group;");
    weights.load_factors(call, now.at, factors);
    weights.decode(now.at, factors, operands);
#pragma unroll
    for (int run = 0; run < Shape::kRuns; run++) {
      warpgroup_begin();
      run_steps<Shape, kOperand, kRun>(sums, operands, swizzled_operand(shared + now.at), run, !kGrouped);
      warpgroup_commit();
      warpgroup_wait<0>();
      if constexpr (kGrouped) scale_sums(sums, factors[run].scale, kFactor, totals);
    }
  }

  const Results<kStepTokens, false> results{call, edges, share.first_feature, share.first_token};
  const auto own = [&](int at) { return kGrouped ? totals[kGrouped ? at : 0] : static_cast<float>(sums[at]) * kFactor; };
  if (call.splits == 1) return results.leave_all(own);
  __syncthreads();
  leave_shares<32>(shared, share.rank, call.splits, own, [&](int at, float value) { results.leave(at, value); });
#else
  __trap();  // find_warpgroup_product() asks launches_overlap() first
#endif
}

}  // namespace warpgroup

template <Format F, Operand kOperand, Scaling kScaling, int kRun>
void launch_warpgroup_split_of(const Call& call, cudaStream_t stream) {
  using namespace warpgroup;
  // A cluster's blocks lie on neighbouring multiprocessors: of two blocks to each some find no room in a first wave. (H100: where 5 in 3
  // are asked for, the products of a layer of int4 with 64 tokens take 80 us, where 2 are, 105.)
  const SharedLaunch launch = {.block_tokens = kStepTokens,
                               .threads = kThreads,
                               .shared_bytes = SplitStage<F, kOperand, kRun>::kSharedBytes,
                               .most_blocks = call.multiprocessors * 5 / 3};
  launch_shares("linear warpgroup split", warpgroup_split_kernel<F, kOperand, kScaling, kRun>, launch, call, stream);
}

template <Format F, Operand kOperand>
void launch_warpgroup_split(const Call& call, cudaStream_t stream) {
  launch_grouped<F, kOperand>(call, [&]<Scaling kScaling, int kRun>() { launch_warpgroup_split_of<F, kOperand, kScaling, kRun>(call, stream); });
}

}  // namespace kvant::cuda::linear
