#pragma once
// y[t, n] = x_scale[t] * sum_g scale[n, g] * sum_{k in g} x[t, k] * w[n, k] + bias[n], for many tokens, on the tensor cores of
// compute capability 9.0.  x: [T, padded K] fp16 or bf16 in paired order (PreparedForm)   w: layout.h   y: [T, N] as Call::result says
//
// A block makes 128 features x 128 tokens, each of its two warpgroups 64 features x two halves of 64 tokens. A lane's codes are
// what wgmma takes from registers: they go from global memory through the decoder straight there, while the tensor cores work
// on those before. x goes through kStages buffers of shared memory by cp.async. At the end of a group one half of the sums is
// scaled while the tensor cores work on the other.
// Reads N * K codes T / 128 times and T * K activations N / 128 times, mostly from the second-level cache. Batch-invariant.
#include "../columns.cuh"
#include "../warpgroup_steps.cuh"
#include "stream.cuh"

namespace kvant::cuda::linear {

namespace warpgroup {

constexpr int kTokens = 128, kHalf = 64, kFeatures = 128, kStages = 4;
constexpr int kChunkBytes = kTokens * kChunkColumns * 2;

// Sums are scaled every kRun units, which is 1, 2 or 4 and divides the units of a group: branches that depend on the group would
// keep the compiler from letting tensor cores and scaling overlap. An iteration takes one run, or two of one unit.
template <int kRun>
struct Iteration {
  static constexpr int kChunks = kRun == 4 ? 2 : 1, kRuns = kChunks * 2 / kRun;
  static constexpr int kStageBytes = kChunks * kChunkBytes;
  static constexpr int kSharedBytes = kStages * kStageBytes + 1024;  // stages begin at multiples of 1024
};

#ifdef KVANT_WARPGROUP

// d[64 features, 64 tokens] (+)= a[64, 16] * b[16, 64]; a of a lane: rows g, g + 8 of its warp's 16, in the order of mma.sync.
template <Operand kOperand>
__device__ __forceinline__ void step(float (&d)[32], const uint32_t (&a)[4], uint64_t b, bool add) {
#define KVANT_STEP(type)                                                                             \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"                                          \
               "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type " {" KVANT_NAMES_32 "}, " \
               "{%32, %33, %34, %35}, %36, p, 1, 1, 0;\n}\n"                                         \
               : KVANT_SUMS_32("f", d)                                                               \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)))
  if constexpr (kOperand == Operand::fp16) KVANT_STEP("f16");
  else KVANT_STEP("bf16");
#undef KVANT_STEP
}

// Chunks past the last one become zeros.
template <int kChunks>
__device__ __forceinline__ void fetch_x(const Call& call, int first_chunk, uint32_t stage) {
#pragma unroll
  for (int i = 0; i < kChunks * kTokens * 8 / 256; i++) {
    const int at = i * 256 + threadIdx.x, in_stage = at / (kTokens * 8), row = at / 8 % kTokens, vector = at % 8;
    const int token = min(static_cast<int>(blockIdx.x) * kTokens + row, call.tokens - 1), chunk = min(first_chunk + in_stage, call.chunks - 1);
    const int bytes = first_chunk + in_stage < call.chunks ? 16 : 0;
    const uint32_t to = stage + in_stage * kChunkBytes + row * 128 + ((vector ^ (row & 7)) << 4);
    const void* const from = static_cast<const uint8_t*>(call.x) + (static_cast<size_t>(token) * call.padded_cols + chunk * kChunkColumns) * 2 + vector * 16;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
  }
}

// What the sums of a block meet at the end, in shared memory: read where it is needed, each of a lane's sums would wait for it. It
// comes by cp.async: for the thread that asked it is there when the next group is, for the others after a barrier behind that.
template <int kTokens>
struct Edges {
  float row_scales[kFeatures], biases[kFeatures];
  alignas(16) float x_scales[kTokens];

  __device__ __forceinline__ void fetch_rows(const Call& call, int first_feature, bool has_row_scales) {
    const int row = threadIdx.x, feature = min(first_feature + row, call.rows - 1);
    if (row >= kFeatures) return;
    if (has_row_scales) fetch(row_scales + row, call.row_scales + feature);
    else row_scales[row] = 1.0f;
    if (call.bias != nullptr) fetch(biases + row, call.bias + feature);
    else biases[row] = 0.0f;
  }
  // After wait_for_inputs(); past the first-level cache, which may hold what was there before.
  __device__ __forceinline__ void fetch_tokens(const Call& call, int first_token) {
    const int token = threadIdx.x * 4;
    if (token >= kTokens) return;
    if (call.x_scales == nullptr) {
#pragma unroll
      for (int i = 0; i < 4; i++) x_scales[token + i] = 1.0f;
      return;
    }
    const int there = max(min(call.tokens - first_token - token, 4), 0);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(x_scales + token))),
                 "l"(call.x_scales + first_token + token), "r"(there * 4)
                 : "memory");
  }

 private:
  static __device__ __forceinline__ void fetch(float* to, const float* from) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(to))), "l"(from) : "memory");
  }
};

// One value of the result: `at` counts from token 0, feature 0. Each is added to once, but by the second-level cache: a thread that
// loads before it stores would wait for memory 64 times in a row.
__device__ __forceinline__ void leave(const Call& call, size_t at, float value) {
  if (call.result == Result::bf16) reinterpret_cast<Bf16*>(call.y)[at] = __float2bfloat16_rn(value);
  else if (call.result == Result::added) atomicAdd(call.onto + at, value);
  else call.y[at] = value;
}

// A lane's part of a block's result; `sum_of(half, at, row_scale)`: its sum `at` of a half of the tokens.
template <class SumOf>
__device__ __forceinline__ void leave_block(const Call& call, const Edges<kTokens>& edges, int first_feature, int first_token, const SumOf& sum_of) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
#pragma unroll
  for (int half = 0; half < 2; half++) {
#pragma unroll
    for (int row = 0; row < 2; row++) {
      const int in_block = warp * kTileRows + g + row * 8, feature = first_feature + in_block;
      if (feature >= call.rows) continue;
      const float scale = edges.row_scales[in_block], bias = edges.biases[in_block];
#pragma unroll
      for (int i = 0; i < 16; i++) {
        const int at = i / 2 * 4 + row * 2 + i % 2, column = half * kHalf + i / 2 * 8 + c * 2 + i % 2, token = first_token + column;
        if (token >= call.tokens) continue;
        leave(call, static_cast<size_t>(token) * call.rows + feature, fmaf(sum_of(half, at, scale), edges.x_scales[column], bias));
      }
    }
  }
}

// What a lane holds of its warp's tile of a chunk.
template <Format F>
__device__ __forceinline__ void fetch_codes(const Call& call, int tile, int chunk, int lane, ChunkWords<F>& words) {
  if constexpr (bits(F) == 4) {
    words.vectors[0] = __ldg(reinterpret_cast<const uint4*>(call.codes + ((static_cast<size_t>(tile) * call.chunks + chunk) * 32 + lane) * 16));
  } else {
#pragma unroll
    for (int row = 0; row < 2; row++) {
      const size_t at = static_cast<size_t>(tile * kTileRows + lane / 4 + row * 8) * call.padded_cols + chunk * kChunkColumns + lane % 4 * 16;
      words.vectors[row] = __ldg(reinterpret_cast<const uint4*>(call.codes + at));
    }
  }
}
#endif

template <Format F, Operand kOperand, Scaling kScaling, int kRun>
__global__ void __launch_bounds__(256, 1) warpgroup_kernel(const Call call) {
#ifdef KVANT_WARPGROUP
  using Fam = FloatFamily<F, kOperand>;
  using Shape = Iteration<kRun>;
  constexpr bool kGrouped = is_grouped(kScaling), kHasFactors = kScaling != Scaling::rows;
  constexpr int kChunks = Shape::kChunks, kRuns = Shape::kRuns, kUnits = kChunks * 2, kAhead = bits(F) == 4 && kRun < 4 ? 2 : 1;
  constexpr float kFactor = Fam::template kFactor<kScaling>;
  extern __shared__ uint8_t shared_bytes[];
  __shared__ Edges<kTokens> edges;
  const uint32_t shared = (static_cast<uint32_t>(__cvta_generic_to_shared(shared_bytes)) + 1023) & ~1023u;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  const int tile = blockIdx.y * (kFeatures / kTileRows) + warp;
  const int iterations = (call.chunks + kChunks - 1) / kChunks;

  float sums[2][32] = {}, totals[kGrouped ? 2 : 1][kGrouped ? 32 : 1] = {};
  uint32_t operands[2][kUnits][2][4];  // of an iteration's parity, unit, step
  ChunkWords<F> words[kAhead][kChunks];
  GroupFactors factors[kRuns] = {}, next[kRuns] = {}, later[kRuns] = {};  // of this iteration, the next, the one after it
  const auto fetch_factors = [&](int iteration, GroupFactors (&to)[kRuns]) {
    if constexpr (kHasFactors) {
#pragma unroll
      for (int run = 0; run < kRuns; run++) {
        const int group = group_of(call, iteration * kUnits + run * kRun);
        load_factors<Fam, F, kScaling>(call, call.scales + (static_cast<size_t>(tile) * call.groups + group) * call.scale_run, g, c, to[run]);
      }
    }
  };
  const auto fetch_words = [&](int iteration, ChunkWords<F> (&to)[kChunks]) {
#pragma unroll
    for (int i = 0; i < kChunks; i++) fetch_codes<F>(call, tile, min(iteration * kChunks + i, call.chunks - 1), lane, to[i]);
  };
  const auto decode = [&](const ChunkWords<F> (&from)[kChunks], const GroupFactors (&group)[kRuns], uint32_t (&to)[kUnits][2][4]) {
#pragma unroll
    for (int unit = 0; unit < kUnits; unit++) {
      typename Fam::Weights weights;
      if (unit % 2 == 0) Fam::template decode<0, kScaling>(from[unit / 2], group[unit / kRun], weights);
      else Fam::template decode<1, kScaling>(from[unit / 2], group[unit / kRun], weights);
#pragma unroll
      for (int i = 0; i < 2; i++) {
        to[unit][i][0] = weights.row[0][2 * i], to[unit][i][1] = weights.row[1][2 * i];
        to[unit][i][2] = weights.row[0][2 * i + 1], to[unit][i][3] = weights.row[1][2 * i + 1];
      }
    }
  };

  {
    ChunkWords<F> first[kChunks];
    fetch_words(0, first);
    fetch_factors(0, factors);
    fetch_factors(1, next);
#pragma unroll
    for (int i = 0; i < kAhead; i++) fetch_words(i + 1, words[i]);
    decode(first, factors, operands[0]);
  }
  const int first_feature = static_cast<int>(blockIdx.y) * kFeatures, first_token = static_cast<int>(blockIdx.x) * kTokens;
  edges.fetch_rows(call, first_feature, !kGrouped);
  wait_for_inputs();
  let_next_start();
  edges.fetch_tokens(call, first_token);
#pragma unroll
  for (int i = 0; i < kStages - 2; i++) {
    if (i < iterations) fetch_x<kChunks>(call, i * kChunks, shared + i * Shape::kStageBytes);
    asm volatile("cp.async.commit_group;");
  }

  const auto run_iteration = [&]<int kParity>(int iteration) {
    if constexpr (!kGrouped) warpgroup_wait<2 * kRuns>();  // what the iteration before the last one read is free
    asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 3) : "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    const int ahead = iteration + kStages - 2;
    if (ahead < iterations) fetch_x<kChunks>(call, ahead * kChunks, shared + ahead % kStages * Shape::kStageBytes);
    asm volatile("cp.async.commit_group;");
    const uint32_t x = shared + iteration % kStages * Shape::kStageBytes;
    fetch_factors(iteration + 2, later);
    const auto run_units = [&](int first) {
      warpgroup_begin();
#pragma unroll
      for (int half = 0; half < 2; half++) {
#pragma unroll
        for (int i = 0; i < kRun * 2; i++) {
          const int unit = first + i / 2;
          step<kOperand>(sums[half], operands[kParity][unit][i % 2],
                         swizzled_operand(x + unit / 2 * kChunkBytes + half * kHalf * 128 + unit % 2 * 64 + i % 2 * 32), !kGrouped || i > 0);
        }
        warpgroup_commit();
      }
    };
    const auto scale_half = [&](int half, const GroupFactors& group) {
#pragma unroll
      for (int i = 0; i < 32; i++) totals[half][i] = fmaf(sums[half][i] * kFactor, group.scale[i % 4 / 2], totals[half][i]);
    };
    run_units(0);
    if constexpr (!kGrouped) {
      if constexpr (kRuns == 2) run_units(kRun);
      warpgroup_wait<2 * kRuns>();  // what the next operands overwrite is read
    }
    decode(words[kParity % kAhead], next, operands[1 - kParity]);
    fetch_words(iteration + 1 + kAhead, words[kParity % kAhead]);
    if constexpr (kGrouped) {
      warpgroup_wait<1>();
      scale_half(0, factors[0]);
      warpgroup_wait<0>();
      scale_half(1, factors[0]);
      if constexpr (kRuns == 2) {
        run_units(kRun);
        warpgroup_wait<1>();
        scale_half(0, factors[1]);
        warpgroup_wait<0>();
        scale_half(1, factors[1]);
      }
    }
#pragma unroll
    for (int run = 0; run < kRuns; run++) factors[run] = next[run], next[run] = later[run];
  };
  for (int iteration = 0; iteration < iterations; iteration += 2) {
    run_iteration.template operator()<0>(iteration);
    if (iteration + 1 < iterations) run_iteration.template operator()<1>(iteration + 1);
  }
  if constexpr (!kGrouped) warpgroup_wait<0>();

  leave_block(call, edges, first_feature, first_token,
              [&](int half, int at, float scale) { return kGrouped ? totals[half][at] : sums[half][at] * kFactor * scale; });
#else
  __trap();  // find_warpgroup_product() asks launches_overlap() first
#endif
}

}  // namespace warpgroup

template <Format F, Operand kOperand, Scaling kScaling, int kRun>
void launch_warpgroup_of(const Call& call, cudaStream_t stream) {
  const auto kernel = warpgroup::warpgroup_kernel<F, kOperand, kScaling, kRun>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, warpgroup::Iteration<kRun>::kSharedBytes), "linear warpgroup: shared memory");
  const dim3 grid(static_cast<unsigned>((call.tokens + warpgroup::kTokens - 1) / warpgroup::kTokens),
                  static_cast<unsigned>((call.rows + warpgroup::kFeatures - 1) / warpgroup::kFeatures));
  launch("linear warpgroup", kernel, grid, dim3(256), warpgroup::Iteration<kRun>::kSharedBytes, stream, call);
}

template <Format F, Operand kOperand>
void launch_warpgroup(const Call& call, cudaStream_t stream) {
  if constexpr (bits(F) == 8) {
    if (call.scaling == Scaling::rows) return launch_warpgroup_of<F, kOperand, Scaling::rows, 4>(call, stream);
  }
  if constexpr (F == Format::e2m1) {
    if (call.scaling == Scaling::codes) return launch_warpgroup_of<F, kOperand, Scaling::codes, 1>(call, stream);
  }
  constexpr Scaling kGroups = F == Format::int8 || F == Format::int4 ? Scaling::zeros : Scaling::groups;
  if (call.group_units % 4 == 0) return launch_warpgroup_of<F, kOperand, kGroups, 4>(call, stream);
  if (call.group_units % 2 == 0) return launch_warpgroup_of<F, kOperand, kGroups, 2>(call, stream);
  launch_warpgroup_of<F, kOperand, kGroups, 1>(call, stream);
}

}  // namespace kvant::cuda::linear
