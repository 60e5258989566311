#pragma once
// y[t, n] = x_scale[t] * sum_g scale[n, g] * sum_{k in g} x[t, k] * (code[n, k] - zero[n, g]) + bias[n], for more than 128 tokens, on the
// tensor cores of compute capability 9.0.  x: fp16, bf16 or int8 in panels, int8 that meets int4 without zero points interleaved
// (PreparedForm)   w: 8 or 4 bits, layout.h   y: [T, N] as Call::result says
//
// A block makes 128 features x 128 tokens (warpgroup_stage.cuh): a warpgroup fetches, two others make 64 features each, in two halves of
// 64 tokens. They decode the codes of the next iteration while the tensor cores work on this one, and scale one half while those work on
// the other. Barriers in shared memory say which stages are full and which are free again, so that a warpgroup may be as far ahead of the
// others as the stages allow.
// Where features and tokens give too few blocks, those of a cluster share the columns (warpgroup_split.cuh). Not batch-invariant: the
// number of shares follows the number of tokens.
// Reads N * K codes T / 128 times and T * K activations N / 128 times, mostly from the second-level cache.
#include "warpgroup_results.cuh"
#include "warpgroup_weights.cuh"

namespace kvant::cuda::linear {
namespace warpgroup {

constexpr int kTokens = 128, kHalves = kTokens / kStepTokens, kFetchers = 128;
constexpr int kRegisters = launch_registers(kThreads + kFetchers), kFetcherRegisters = 40, kMakerRegisters = 232;
static_assert(kFetchers * kFetcherRegisters + kThreads * kMakerRegisters <= (kFetchers + kThreads) * kRegisters);
static_assert(kTokens == kPanelRows && kUnits * kUnitColumns == kPanelColumns);

// Beside them Edges and what aligns stages find room in 227 KiB.
template <Format F, Operand kOperand, int kRun>
using WholeStage = Stage<F, kOperand, kRun, kTokens, 220 * 1024>;

#ifdef KVANT_WARPGROUP
// The threads that do not fetch wait for each other.
__device__ __forceinline__ void wait_for_makers() { asm volatile("bar.sync 1, %0;" ::"n"(kThreads) : "memory"); }

// The panels of x, as they are to lie in shared memory.
template <class Shape>
struct PanelFetcher {
  const uint8_t* from;  // of the next iteration
  size_t panel;         // bytes from one to the next

  __device__ __forceinline__ PanelFetcher(const Call& call, const Share& share) : panel(static_cast<size_t>(call.panel_rows) * 128) {
    from = static_cast<const uint8_t*>(call.x) + share.first_chunk / kChunks * Shape::kXBytes * panel + static_cast<size_t>(share.first_token) * 128;
  }
  // By one thread, which arrives at `barrier`; its phase lasts until all has come.
  __device__ __forceinline__ void fetch(uint32_t to, uint32_t barrier) const {
    arrive_expecting(barrier, Shape::kXStageBytes);
#pragma unroll
    for (int i = 0; i < Shape::kXBytes; i++) copy_bulk(to + i * Shape::kPanel, from + i * panel, Shape::kPanel, barrier);
  }
  __device__ __forceinline__ void advance() { from += Shape::kXBytes * panel; }
};

// What a thread that fetches does. Barriers are those of the stage at 0. (They could be told of cp.async without a wait, by
// cp.async.mbarrier.arrive: as fast, but compute-sanitizer does not see it.)
template <class Shape, class Codes>
__device__ __forceinline__ void fetch_iterations(const Call& call, Codes codes, PanelFetcher<Shape> x, int count, uint32_t shared, uint32_t full,
                                                 uint32_t empty) {
  constexpr int kAhead = Shape::kStages - 2;  // two more are being worked on
  const bool brings_x = threadIdx.x == kThreads;
#pragma unroll 1
  for (int i = 0; i < kAhead; i++, codes.advance(call)) {
    if (i < count) codes.fetch(call, i * Shape::kBytes);
    asm volatile("cp.async.commit_group;");
  }
  wait_for_inputs();
  let_next_start();
  Ring<Shape::kStages, Shape::kBytes> free, come;
#pragma unroll 1
  for (int i = 0; i < min(kAhead, count); i++, x.advance()) {
    if (brings_x) x.fetch(shared + free.at, full + free.at);
    free.advance();
  }
#pragma unroll 1
  for (int i = 0; i < count; i++) {
    asm volatile("cp.async.wait_group %0;" ::"n"(kAhead - 1) : "memory");
    arrive(full + come.at);
    come.advance();
    if (i + kAhead < count) {
      wait_barrier(empty + free.at, free.phase ^ 1);
      codes.fetch(call, free.at);
      codes.advance(call);
      if (brings_x) x.fetch(shared + free.at, full + free.at);
      x.advance();
      free.advance();
    }
    asm volatile("cp.async.commit_group;");
  }
}
#endif

template <Format F, Operand kOperand, Scaling kScaling, int kRun>
__global__ void __launch_bounds__(kThreads + kFetchers, 1) warpgroup_kernel(const Call call) {
#ifdef KVANT_WARPGROUP
  using Fam = Family<F, kOperand>;
  using Shape = WholeStage<F, kOperand, kRun>;
  constexpr bool kGrouped = is_grouped(kScaling);
  constexpr int kStages = Shape::kStages, kRuns = kGrouped ? Shape::kRuns : 1;
  constexpr float kFactor = Fam::template kFactor<kScaling>;
  extern __shared__ uint8_t shared_bytes[];
  __shared__ Edges<kTokens> edges;
  const uint32_t shared = first_stage(shared_bytes);
  const uint32_t full = shared + Shape::kBarriersAt, empty = full + 8;  // of the stage at 0
  const Share share(call, kTokens);

  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; i++) init_barrier(full + i * Shape::kBytes, kFetchers + 1), init_barrier(empty + i * Shape::kBytes, kThreads);
    publish_barriers();
  }
  __syncthreads();
  if (threadIdx.x >= kThreads) {
    take_registers<kRegisters, kFetcherRegisters>();
    const WeightFetcher<Shape, F, kRun, kScaling != Scaling::rows, kFetchers> codes(call, share, threadIdx.x - kThreads, shared);
    return fetch_iterations(call, codes, PanelFetcher<Shape>(call, share), share.iterations, shared, full, empty);
  }
  take_registers<kRegisters, kMakerRegisters>();

  typename Fam::Sum sums[kHalves][32] = {};
  float totals[kGrouped ? kHalves : 1][kGrouped ? 32 : 1] = {};
  const Weights<Shape, F, kOperand, kScaling, kRun> weights(shared_bytes, shared);
  uint32_t operands[2][kUnits][Shape::kSteps][4];  // of an iteration's parity
  GroupFactors factors[2][Shape::kRuns] = {};
  edges.fetch_rows(call, share.first_feature, !kGrouped);
  wait_for_inputs();
  edges.fetch_tokens(call, share.first_token);

  Ring<Shape::kStages, Shape::kBytes> now, next, done;  // stages of this iteration, the next, the one to be released
  const auto take_weights = [&](GroupFactors (&group)[Shape::kRuns], uint32_t (&to)[kUnits][Shape::kSteps][4]) {
    wait_barrier(full + next.at, next.phase);
    weights.load_factors(call, next.at, group);
    weights.decode(next.at, group, to);
    next.advance();
  };
  // By each thread, as fast as by one of a warp, which racecheck would not take for the others.
  const auto release = [&] {
    arrive(empty + done.at);
    done.advance();
  };
  const auto run_iteration = [&]<int kParity>(int i) {
    const uint64_t x = swizzled_operand(shared + now.at);
#pragma unroll
    for (int run = 0; run < kRuns; run++) {
      warpgroup_begin();
#pragma unroll
      for (int half = 0; half < kHalves; half++) {
        run_steps<Shape, kOperand, kGrouped ? kRun : kUnits>(sums[half], operands[kParity], swizzled_operand_at(x, half * kStepTokens * 128), run, !kGrouped);
        warpgroup_commit();
      }
      if constexpr (!kGrouped) {
        warpgroup_wait<kHalves>();  // what the iteration before multiplied is free
        if (i > 0) release();
      }
      if (run == 0 && i + 1 < share.iterations) take_weights(factors[1 - kParity], operands[1 - kParity]);
      if constexpr (kGrouped) {
        warpgroup_wait<1>();
        scale_sums(sums[0], factors[kParity][run].scale, kFactor, totals[0]);
        warpgroup_wait<0>();
        if (run == kRuns - 1) release();
        scale_sums(sums[1], factors[kParity][run].scale, kFactor, totals[1]);
      }
    }
    now.advance();
  };
  take_weights(factors[0], operands[0]);
  for (int i = 0; i < share.iterations; i += 2) {
    run_iteration.template operator()<0>(i);
    if (i + 1 < share.iterations) run_iteration.template operator()<1>(i + 1);
  }
  warpgroup_wait<0>();
  asm volatile("cp.async.wait_all;" ::: "memory");
  wait_for_makers();  // what Edges holds is there, and nobody reads stages any more

  const Results<kTokens, true> results{call, edges, share.first_feature, share.first_token};
  const auto own = [&](int at) {
    return kGrouped ? totals[kGrouped ? at / 32 : 0][kGrouped ? at % 32 : 0] : static_cast<float>(sums[at / 32][at % 32]) * kFactor;
  };
  if (call.splits == 1) return results.leave_all(own);
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; i++) end_barrier(full + i * Shape::kBytes), end_barrier(empty + i * Shape::kBytes);
  }
  wait_for_makers();
  leave_shares<kHalves * 32>(shared, share.rank, call.splits, own, [&](int at, float value) { results.leave(at, value); });
#else
  __trap();  // find_warpgroup_product() asks launches_overlap() first
#endif
}

}  // namespace warpgroup

template <Format F, Operand kOperand, Scaling kScaling, int kRun>
void launch_warpgroup_of(const Call& call, cudaStream_t stream) {
  using namespace warpgroup;
  const SharedLaunch launch = {.block_tokens = kTokens,
                               .threads = kThreads + kFetchers,
                               .shared_bytes = WholeStage<F, kOperand, kRun>::kSharedBytes,
                               .most_blocks = call.multiprocessors};
  launch_shares("linear warpgroup", warpgroup_kernel<F, kOperand, kScaling, kRun>, launch, call, stream);
}

template <Format F, Operand kOperand>
void launch_warpgroup(const Call& call, cudaStream_t stream) {
  launch_grouped<F, kOperand>(call, [&]<Scaling kScaling, int kRun>() { launch_warpgroup_of<F, kOperand, kScaling, kRun>(call, stream); });
}

}  // namespace kvant::cuda::linear
