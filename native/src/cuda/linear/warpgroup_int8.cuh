#pragma once
// y[t, n] = x_scale[t] * sum_g scale[n, g] * sum_{k in g} x[t, k] * (code[n, k] - zero[n, g]) + bias[n], for many tokens, on the
// tensor cores of compute capability 9.0.  x: [T, padded K] int8 in paired order (PreparedForm)   w: int4 or int8, layout.h
// y: [T, N] as Call::result says
//
// The blocks of warpgroup.cuh, with exact int32 sums: an iteration is 128 columns, which are rows of 128 bytes of x. Sums of at
// most 128 columns stay below 2^22.
// Reads N * K codes T / 128 times and T * K activations N / 128 times, mostly from the second-level cache. Batch-invariant.
#include "warpgroup.cuh"

namespace kvant::cuda::linear {
namespace warpgroup {

constexpr int kInt8Units = 4, kInt8Chunks = 2, kInt8SharedBytes = kStages * kChunkBytes + 1024;

#ifdef KVANT_WARPGROUP
__device__ __forceinline__ void step(int (&d)[32], const uint32_t (&a)[4], uint64_t b, bool add) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n64k32.s32.s8.s8 {" KVANT_NAMES_32 "}, {%32, %33, %34, %35}, %36, p;\n}\n"
               : KVANT_SUMS_32("r", d)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
}

// 128 columns of x; what is past the last chunk becomes zeros.
__device__ __forceinline__ void fetch_int8_x(const Call& call, int first_chunk, uint32_t stage) {
#pragma unroll
  for (int i = 0; i < kTokens * 8 / 256; i++) {
    const int at = i * 256 + threadIdx.x, row = at / 8, vector = at % 8;
    const int token = min(static_cast<int>(blockIdx.x) * kTokens + row, call.tokens - 1), chunk = first_chunk + vector / 4;
    const int bytes = chunk < call.chunks ? 16 : 0;
    const void* const from = static_cast<const uint8_t*>(call.x) + static_cast<size_t>(token) * call.padded_cols +
                             min(chunk, call.chunks - 1) * kChunkColumns + vector % 4 * 16;
    const uint32_t to = stage + row * 128 + ((vector ^ (row & 7)) << 4);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
  }
}

// Eight columns of a row as int8: int4 codes are held as 0 .. 15, of which 8 and the zero point are taken.
template <Format F>
__device__ __forceinline__ void eight_columns(const uint32_t (&held)[bits(F) / 4], int zero, uint32_t (&out)[2]) {
  if constexpr (F == Format::int8) {
    out[0] = held[0], out[1] = held[1];
  } else {
    const uint32_t low = held[0] & 0x0f0f0f0fu, high = held[0] >> 4 & 0x0f0f0f0fu;  // columns 0 4 1 5, 2 6 3 7
    const uint32_t offset = static_cast<uint32_t>(8 + zero) * 0x01010101u;
    out[0] = ((__byte_perm(low, high, 0x6420) | 0x80808080u) - offset) ^ 0x80808080u;  // no borrow between bytes
    out[1] = ((__byte_perm(low, high, 0x7531) | 0x80808080u) - offset) ^ 0x80808080u;
  }
}
#endif

template <Format F, int kRun>
__global__ void __launch_bounds__(256, 1) warpgroup_int8_kernel(const Call call) {
#ifdef KVANT_WARPGROUP
  using Fam = Int8Family<F>;
  constexpr int kRuns = kInt8Units / kRun;
  extern __shared__ uint8_t shared_bytes[];
  __shared__ Edges<kTokens> edges;
  const uint32_t shared = (static_cast<uint32_t>(__cvta_generic_to_shared(shared_bytes)) + 1023) & ~1023u;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  const int tile = blockIdx.y * (kFeatures / kTileRows) + warp;
  const int iterations = (call.chunks + kInt8Chunks - 1) / kInt8Chunks;

  int sums[2][32] = {};
  float totals[2][32] = {};
  uint32_t operands[2][kInt8Units][4];  // of an iteration's parity, unit
  ChunkWords<F> words[kInt8Chunks];     // of the next iteration
  GroupFactors factors[kRuns], next[kRuns], later[kRuns];  // of this iteration, the next, the one after it
  const auto fetch_factors = [&](int iteration, GroupFactors (&to)[kRuns]) {
#pragma unroll
    for (int run = 0; run < kRuns; run++) {
      const int group = group_of(call, iteration * kInt8Units + run * kRun);
      load_factors<Fam, F, Scaling::zeros>(call, call.scales + (static_cast<size_t>(tile) * call.groups + group) * call.scale_run, g, c, to[run]);
    }
  };
  const auto fetch_words = [&](int iteration, ChunkWords<F> (&to)[kInt8Chunks]) {
#pragma unroll
    for (int i = 0; i < kInt8Chunks; i++) fetch_codes<F>(call, tile, min(iteration * kInt8Chunks + i, call.chunks - 1), lane, to[i]);
  };
  const auto decode = [&](const ChunkWords<F> (&from)[kInt8Chunks], const GroupFactors (&group)[kRuns], uint32_t (&to)[kInt8Units][4]) {
#pragma unroll
    for (int unit = 0; unit < kInt8Units; unit++) {
#pragma unroll
      for (int row = 0; row < 2; row++) {
        uint32_t held[bits(F) / 4], columns[2];
        if (unit % 2 == 0) from[unit / 2].template eight<0>(row, held);
        else from[unit / 2].template eight<1>(row, held);
        eight_columns<F>(held, group[unit / kRun].zero[row], columns);
        to[unit][row] = columns[0], to[unit][2 + row] = columns[1];
      }
    }
  };

  {
    ChunkWords<F> first[kInt8Chunks];
    fetch_words(0, first);
    fetch_factors(0, factors);
    fetch_factors(1, next);
    fetch_words(1, words);
    decode(first, factors, operands[0]);
  }
  const int first_feature = static_cast<int>(blockIdx.y) * kFeatures, first_token = static_cast<int>(blockIdx.x) * kTokens;
  edges.fetch_rows(call, first_feature, false);
  wait_for_inputs();
  let_next_start();
  edges.fetch_tokens(call, first_token);
#pragma unroll
  for (int i = 0; i < kStages - 2; i++) {
    if (i < iterations) fetch_int8_x(call, i * kInt8Chunks, shared + i * kChunkBytes);
    asm volatile("cp.async.commit_group;");
  }

  const auto run_iteration = [&]<int kParity>(int iteration) {
    asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 3) : "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    const int ahead = iteration + kStages - 2;
    if (ahead < iterations) fetch_int8_x(call, ahead * kInt8Chunks, shared + ahead % kStages * kChunkBytes);
    asm volatile("cp.async.commit_group;");
    const uint32_t x = shared + iteration % kStages * kChunkBytes;
    fetch_factors(iteration + 2, later);
    const auto scale_half = [&](int half, const GroupFactors& group) {
#pragma unroll
      for (int i = 0; i < 32; i++) totals[half][i] = fmaf(static_cast<float>(sums[half][i]), group.scale[i % 4 / 2], totals[half][i]);
    };
#pragma unroll
    for (int run = 0; run < kRuns; run++) {
      warpgroup_begin();
#pragma unroll
      for (int half = 0; half < 2; half++) {
#pragma unroll
        for (int i = 0; i < kRun; i++) {
          const int unit = run * kRun + i;
          step(sums[half], operands[kParity][unit], swizzled_operand(x + half * kHalf * 128 + unit * 32), i > 0);
        }
        warpgroup_commit();
      }
      if (run == 0) {
        decode(words, next, operands[1 - kParity]);
        fetch_words(iteration + 2, words);
      }
      warpgroup_wait<1>();
      scale_half(0, factors[run]);
      warpgroup_wait<0>();
      scale_half(1, factors[run]);
    }
#pragma unroll
    for (int run = 0; run < kRuns; run++) factors[run] = next[run], next[run] = later[run];
  };
  for (int iteration = 0; iteration < iterations; iteration += 2) {
    run_iteration.template operator()<0>(iteration);
    if (iteration + 1 < iterations) run_iteration.template operator()<1>(iteration + 1);
  }

  leave_block(call, edges, first_feature, first_token, [&](int half, int at, float) { return totals[half][at]; });
#else
  __trap();  // find_warpgroup_product() asks launches_overlap() first
#endif
}

}  // namespace warpgroup

template <Format F, int kRun>
void launch_warpgroup_int8_of(const Call& call, cudaStream_t stream) {
  const auto kernel = warpgroup::warpgroup_int8_kernel<F, kRun>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, warpgroup::kInt8SharedBytes), "linear warpgroup: shared memory");
  const dim3 grid(static_cast<unsigned>((call.tokens + warpgroup::kTokens - 1) / warpgroup::kTokens),
                  static_cast<unsigned>((call.rows + warpgroup::kFeatures - 1) / warpgroup::kFeatures));
  launch("linear warpgroup", kernel, grid, dim3(256), warpgroup::kInt8SharedBytes, stream, call);
}

// int8 codes without zero points, or int4.
template <Format F>
void launch_warpgroup_int8(const Call& call, cudaStream_t stream) {
  if (call.group_units % 4 == 0) return launch_warpgroup_int8_of<F, 4>(call, stream);
  if (call.group_units % 2 == 0) return launch_warpgroup_int8_of<F, 2>(call, stream);
  launch_warpgroup_int8_of<F, 1>(call, stream);
}

}  // namespace kvant::cuda::linear
