#pragma once
// y[t, n] = x_scale[t] * sum_g scale[n, g] * sum_{k in g} x[t, k] * w[n, k] + bias[n], for many tokens.
// x: [T, padded K] fp16, bf16 or int8   w: layout.h   y: float32 [T, N]
//
// A block of eight warps makes 128 features x 16 * kTokenTiles tokens, a warp 32 features x 8 * kTokenTiles tokens. Chunks of
// 64 columns of both go through kStages buffers of shared memory, filled by cp.async; codes are decoded after they leave it.
// With splits > 1 block z takes its share of the chunks and writes a part; sum_parts adds the parts in ascending order.
// Not batch-invariant: the number of splits follows the number of tokens.
// Reads N * K codes T / (16 * kTokenTiles) times and T * K activations N / 128 times, mostly from the second-level cache.
#include "stream.cuh"

namespace kvant::cuda::linear {

__device__ __forceinline__ void copy_async(uint32_t to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
__device__ __forceinline__ uint4 load_shared(const uint8_t* at) { return *reinterpret_cast<const uint4*>(at); }

// Where 16-byte vector `vector` of row `row` of a chunk lies. Rows of 128 bytes exchange their halves in odd rows: eight
// lanes, which are four vectors of two rows, then touch all banks once.
template <int kBytes>
__device__ __forceinline__ uint32_t swizzled(int row, int vector) {
  if constexpr (kBytes == 2) return static_cast<uint32_t>(row * 128 + (vector ^ ((row & 1) << 2)) * 16);
  return static_cast<uint32_t>(row * 64 + vector * 16);
}

template <Format F, Operand kOperand, int kTokenTiles>
struct TileShape {
  static constexpr int kTokens = kTokenTiles * 16;
  static constexpr int kStages = kTokenTiles > 4 ? 3 : 4;  // at most 96 KiB, so that every device has room
  static constexpr int kWeightBytes = kBlockRows * kChunkColumns * bits(F) / 8;
  static constexpr int kXRowBytes = kChunkColumns * Family<F, kOperand>::kXBytes;
  static constexpr int kStageBytes = kWeightBytes + kTokens * kXRowBytes;
  static constexpr int kSharedBytes = kStages * kStageBytes;
};

template <Format F, Operand kOperand, int kTokenTiles>
__device__ __forceinline__ void fetch_weights(const Call& call, int chunk, uint32_t stage) {
  using Shape = TileShape<F, kOperand, kTokenTiles>;
  const int thread = threadIdx.x, first_row = blockIdx.x * kBlockRows;
#pragma unroll
  for (int i = 0; i < Shape::kWeightBytes / 16 / 256; i++) {
    const int at = i * 256 + thread;
    if constexpr (bits(F) == 4) {
      const size_t tile = static_cast<size_t>(first_row / kTileRows + at / 32);
      copy_async(stage + at * 16, call.codes + ((tile * call.chunks + chunk) * 32 + at % 32) * 16);
    } else {
      constexpr int kBytes = bits(F) / 8, kVectors = kChunkColumns * kBytes / 16;
      const int row = at / kVectors, vector = at % kVectors;
      copy_async(stage + swizzled<kBytes>(row, vector),
                 call.codes + (static_cast<size_t>(first_row + row) * call.padded_cols + chunk * kChunkColumns) * kBytes + vector * 16);
    }
  }
}

template <Format F, Operand kOperand, int kTokenTiles>
__device__ __forceinline__ void fetch_x(const Call& call, int chunk, uint32_t stage) {
  using Shape = TileShape<F, kOperand, kTokenTiles>;
  constexpr int kXBytes = Family<F, kOperand>::kXBytes;
  const int thread = threadIdx.x, first_token = blockIdx.y * Shape::kTokens;
#pragma unroll
  for (int i = 0; i < Shape::kTokens * Shape::kXRowBytes / 16 / 256; i++) {
    constexpr int kVectors = Shape::kXRowBytes / 16;
    const int at = i * 256 + thread, row = at / kVectors, vector = at % kVectors;
    const int token = min(first_token + row, call.tokens - 1);
    copy_async(stage + Shape::kWeightBytes + swizzled<kXBytes>(row, vector),
               static_cast<const uint8_t*>(call.x) +
                   (static_cast<size_t>(token) * call.padded_cols + chunk * kChunkColumns) * kXBytes + vector * 16);
  }
}

// Splits are counted for two blocks per multiprocessor; a few registers more than 128 halve the speed at 64 tokens.
template <Format F, Operand kOperand, int kTokenTiles, Scaling kScaling>
__global__ void __launch_bounds__(256, kTokenTiles > 4 ? 1 : 2) tiles_kernel(const Call call) {
  using Fam = Family<F, kOperand>;
  using Sum = typename Fam::Sum;
  using Shape = TileShape<F, kOperand, kTokenTiles>;
  constexpr int kXBytes = Fam::kXBytes;
  constexpr bool kGrouped = is_grouped(kScaling);
  constexpr float kFactor = Fam::template kFactor<kScaling>;
  extern __shared__ __align__(128) uint8_t shared_bytes[];
  const uint32_t shared = static_cast<uint32_t>(__cvta_generic_to_shared(shared_bytes));

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  const int warp_row = warp % 4 * 32, warp_token = warp / 4 * 8 * kTokenTiles;
  const int begin = static_cast<int>(static_cast<int64_t>(call.chunks) * blockIdx.z / call.splits);
  const int end = static_cast<int>(static_cast<int64_t>(call.chunks) * (blockIdx.z + 1) / call.splits);

  // Blocks begin at different chunks: all reading the same few lines of x at a time would wait for one another.
  const int count = end - begin, shift = static_cast<int>(static_cast<int64_t>(count) * blockIdx.x / gridDim.x);
  const auto chunk_at = [&](int i) { return begin + (i + shift < count ? i + shift : i + shift - count); };

  // Groups of whole chunks are scaled once per chunk.
  const bool scale_units = kScaling != Scaling::rows && call.group_units % 2 != 0;
  Sum sum[2][kTokenTiles][4] = {};
  float total[2][kTokenTiles][4] = {};
  let_next_start();
#pragma unroll
  for (int i = 0; i < Shape::kStages - 1; i++) {
    if (i < count) fetch_weights<F, kOperand, kTokenTiles>(call, chunk_at(i), shared + i * Shape::kStageBytes);
  }
  wait_for_inputs();
#pragma unroll
  for (int i = 0; i < Shape::kStages - 1; i++) {
    if (i < count) fetch_x<F, kOperand, kTokenTiles>(call, chunk_at(i), shared + i * Shape::kStageBytes);
    asm volatile("cp.async.commit_group;");
  }
  int stage = 0;
  for (int i = 0; i < count; i++) {
    const int chunk = chunk_at(i);
    asm volatile("cp.async.wait_group %0;" ::"n"(Shape::kStages - 2) : "memory");
    __syncthreads();
    const int ahead = i + Shape::kStages - 1, free_stage = stage == 0 ? Shape::kStages - 1 : stage - 1;
    if (ahead < count) {
      fetch_weights<F, kOperand, kTokenTiles>(call, chunk_at(ahead), shared + free_stage * Shape::kStageBytes);
      fetch_x<F, kOperand, kTokenTiles>(call, chunk_at(ahead), shared + free_stage * Shape::kStageBytes);
    }
    asm volatile("cp.async.commit_group;");
    const uint8_t *codes = shared_bytes + stage * Shape::kStageBytes, *x = codes + Shape::kWeightBytes;
    stage = stage + 1 == Shape::kStages ? 0 : stage + 1;

    ChunkWords<F> words[2];
#pragma unroll
    for (int m = 0; m < 2; m++) {
      const int row = warp_row + m * 16 + g;
      if constexpr (bits(F) == 4) {
        words[m].vectors[0] = load_shared(codes + ((warp_row / 16 + m) * 32 + lane) * 16);
      } else {
#pragma unroll
        for (int i = 0; i < ChunkWords<F>::kVectors; i++) {
          words[m].vectors[i] = load_shared(codes + swizzled<bits(F) / 8>(row + i % 2 * 8, i / 2 * 4 + c));
        }
      }
    }
    GroupFactors factors[2];
    const auto add = [&]<int kUnit>() {
      typename Fam::Weights weights[2];
#pragma unroll
      for (int m = 0; m < 2; m++) {
        if (kUnit == 0 || scale_units) {
          const size_t tile = blockIdx.x * (kBlockRows / kTileRows) + warp_row / 16 + m;
          const int group = kScaling == Scaling::rows ? 0 : group_of(call, chunk * 2 + kUnit);
          const uint8_t* run = call.scales + (tile * call.groups + group) * call.scale_run;
          ScaleWords<F, kScaling> scales;
          scales.load(call, run, g, c);
          scales.template factors<Fam>(call, run, g, factors[m]);
        }
        Fam::template decode<kUnit, kScaling>(words[m], factors[m], weights[m]);
      }
#pragma unroll
      for (int t = 0; t < kTokenTiles; t++) {
        const int token = warp_token + t * 8 + g;
        const uint4 v = load_shared(x + swizzled<kXBytes>(token, (kXBytes == 2 ? kUnit * 4 : 0) + c));
        uint32_t values[4] = {v.x, v.y, v.z, v.w};
        if constexpr (kXBytes == 1 && kUnit == 1) values[0] = v.z, values[1] = v.w;
        [[maybe_unused]] Sum x_sums[4] = {};
        if constexpr (Fam::template kSumsX<kScaling>) Fam::add_x(x_sums, values);
#pragma unroll
        for (int m = 0; m < 2; m++) {
          Fam::template multiply<kScaling>(sum[m][t], weights[m], values);
          if constexpr (Fam::template kSumsX<kScaling>) {
#pragma unroll
            for (int e = 0; e < 4; e++) sum[m][t][e] -= Fam::zero(factors[m], e / 2) * x_sums[e];
          }
          if (kGrouped && (kUnit == 1 || scale_units)) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
              total[m][t][e] = fmaf(static_cast<float>(sum[m][t][e]) * kFactor, factors[m].scale[e / 2], total[m][t][e]);
              sum[m][t][e] = 0;
            }
          }
        }
      }
    };
    add.template operator()<0>();
    add.template operator()<1>();
  }

#pragma unroll
  for (int m = 0; m < 2; m++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = blockIdx.x * kBlockRows + warp_row + m * 16 + half * 8 + g;
      if (row >= call.rows) continue;
      const float scale = !kGrouped && bits(F) <= 8 ? call.row_scales[row] : 1.0f;
      const float bias = call.bias && call.splits == 1 ? call.bias[row] : 0.0f;
#pragma unroll
      for (int t = 0; t < kTokenTiles; t++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const int token = blockIdx.y * Shape::kTokens + warp_token + t * 8 + c * 2 + e;
          if (token >= call.tokens) continue;
          float value = kGrouped ? total[m][t][half * 2 + e] : static_cast<float>(sum[m][t][half * 2 + e]) * kFactor;
          if constexpr (!kGrouped && bits(F) <= 8) value *= scale;
          const size_t at = static_cast<size_t>(token) * call.rows + row;
          if (call.splits > 1) {
            call.parts[static_cast<size_t>(blockIdx.z) * call.tokens * call.rows + at] = value;
          } else {
            call.y[at] = fmaf(value, call.x_scales ? __ldcg(call.x_scales + token) : 1.0f, bias);
          }
        }
      }
    }
  }
}

template <Format F, Operand kOperand, int kTokenTiles, Scaling kScaling>
void launch_tiles_of(const Call& call, cudaStream_t stream) {
  using Shape = TileShape<F, kOperand, kTokenTiles>;
  const auto kernel = tiles_kernel<F, kOperand, kTokenTiles, kScaling>;
  // Once per process and device would do; the call costs less than a microsecond and is allowed while capturing.
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Shape::kSharedBytes), "linear tiles: shared memory");
  const dim3 grid(static_cast<unsigned>((call.rows + kBlockRows - 1) / kBlockRows),
                  static_cast<unsigned>((call.tokens + Shape::kTokens - 1) / Shape::kTokens), static_cast<unsigned>(call.splits));
  launch("linear tiles", kernel, grid, dim3(256), size_t{Shape::kSharedBytes}, stream, call);
  if (call.splits > 1) sum_parts(call, stream);
}

// Tokens of a block: 64 up to 64 tokens, else 128 (tokens_per_block in matrix.cc agrees).
template <Format F, Operand kOperand, Scaling kScaling>
struct LaunchTiles {
  static void run(const Call& call, cudaStream_t stream) {
    call.tokens <= 64 ? launch_tiles_of<F, kOperand, 4, kScaling>(call, stream) : launch_tiles_of<F, kOperand, 8, kScaling>(call, stream);
  }
};

template <Format F, Operand kOperand>
void launch_tiles(const Call& call, cudaStream_t stream) {
  launch_scaled<LaunchTiles, F, kOperand>(call, stream);
}

}  // namespace kvant::cuda::linear
