#pragma once
// How the sums of a block leave it, alone or with those of the other blocks of a cluster, and how such blocks are launched.
#include "cuda/cluster.cuh"
#include "warpgroup_stage.cuh"

namespace kvant::cuda::linear::warpgroup {

#ifdef KVANT_WARPGROUP

// What the sums of a block meet at the end, in shared memory: read where it is needed, each of a lane's sums would wait for it. It
// comes by cp.async: for the thread that asked it is there when its next group is, or all of them, for the others after a barrier behind that.
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

// A lane's part of a block's result, kAny: of any kind, else float32. `at` counts its sums: element at % 32 of the wgmma of tokens
// at / 32 * 64 and on.
template <int kTokens, bool kAny>
struct Results {
  static constexpr int kSums = kTokens / kStepTokens * 32;
  const Call& call;
  const Edges<kTokens>& edges;
  int first_feature, first_token;

  // All of them, `own(at)` being the sums; by rows, so that what a row has in common is looked up once.
  template <class Own>
  __device__ __forceinline__ void leave_all(const Own& own) const {
    with_kind([&]<Result kResult>() { leave_as<kResult>(own); });
  }

  __device__ __forceinline__ void leave(int at, float value) const {
    const int row = row_of(at / 2 % 2), column = at / 4 * 8 + threadIdx.x % 4 * 2 + at % 2;
    if (first_feature + row >= call.rows || first_token + column >= call.tokens) return;
    const size_t to = static_cast<size_t>(first_token + column) * call.rows + first_feature + row;
    const float result = finished(value, row, column);
    with_kind([&]<Result kResult>() { store<kResult>(to, result); });
  }

 private:
  template <class Body>
  __device__ __forceinline__ void with_kind(const Body& body) const {
    const Result kind = kAny ? call.result : Result::fp32;
    if (kind == Result::bf16) body.template operator()<Result::bf16>();
    else if (kind == Result::added) body.template operator()<Result::added>();
    else body.template operator()<Result::fp32>();
  }
  static __device__ __forceinline__ int row_of(int half) { return static_cast<int>(threadIdx.x) / 32 * kTileRows + threadIdx.x % 32 / 4 + half * 8; }

  __device__ __forceinline__ float finished(float value, int row, int column) const {
    return fmaf(value * edges.row_scales[row], edges.x_scales[column], edges.biases[row]);
  }

  template <Result kResult, class Own>
  __device__ __forceinline__ void leave_as(const Own& own) const {
    const int first_column = threadIdx.x % 4 * 2, left = call.tokens - first_token - first_column;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = row_of(half);
      if (first_feature + row >= call.rows) continue;
      const size_t first = static_cast<size_t>(first_token + first_column) * call.rows + first_feature + row;
#pragma unroll
      for (int i = 0; i < kSums / 2; i++) {
        const int column = i / 2 * 8 + i % 2;
        if (column >= left) continue;
        const float result = finished(own(i / 2 * 4 + half * 2 + i % 2), row, first_column + column);
        store<kResult>(first + static_cast<size_t>(column) * call.rows, result);
      }
    }
  }

  // Each is added to once, but by the second-level cache: a thread that loads before it stores would wait for memory every time.
  template <Result kResult>
  __device__ __forceinline__ void store(size_t to, float result) const {
    if constexpr (kResult == Result::bf16) reinterpret_cast<Bf16*>(call.y)[to] = __float2bfloat16_rn(result);
    else if constexpr (kResult == Result::added) atomicAdd(call.onto + to, result);
    else call.y[to] = result;
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

// The sums of the blocks of a cluster, share by share in ascending order of columns; each block leaves every splits-th of a lane's. No
// thread reads the stages at `shared` any more.
template <int kSums, class Own, class Leave>
__device__ __forceinline__ void leave_shares(uint32_t shared, int share, int splits, const Own& own, const Leave& leave) {
  const uint32_t part = shared + threadIdx.x * 4;
#pragma unroll
  for (int at = 0; at < kSums; at++) asm volatile("st.shared.f32 [%0], %1;" ::"r"(part + at * kThreads * 4), "f"(own(at)) : "memory");
  meet_cluster();
  // Several at a time: what lies in another block's memory is as far away as the second-level cache.
  constexpr int kBatch = 4;
  for (int first = share; first < kSums; first += kBatch * splits) {
    float parts[kBatch][kMostShares];
#pragma unroll
    for (int i = 0; i < kBatch; i++) {
#pragma unroll
      for (int from = 0; from < kMostShares; from++) {
        const int at = first + i * splits;
        parts[i][from] = from < splits && at < kSums ? load_remote(part + at * kThreads * 4, from) : 0;
      }
    }
#pragma unroll
    for (int i = 0; i < kBatch; i++) {
      float value = parts[i][0];
#pragma unroll
      for (int from = 1; from < kMostShares; from++) value += parts[i][from];
      if (first + i * splits < kSums) leave(first + i * splits, value);
    }
  }
  meet_cluster();  // nobody ends while others read its sums
}
#endif

}  // namespace kvant::cuda::linear::warpgroup

namespace kvant::cuda::linear {

struct SharedLaunch {
  int block_tokens, threads, shared_bytes, most_blocks;
};

// Blocks are parted in their columns until there are `most_blocks`.
inline void launch_shares(const char* name, void (*kernel)(const Call), const SharedLaunch& launch, const Call& call, cudaStream_t stream) {
  using namespace warpgroup;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, launch.shared_bytes), name);
  const int token_blocks = (call.tokens + launch.block_tokens - 1) / launch.block_tokens, feature_blocks = (call.rows + kFeatures - 1) / kFeatures;
  const int iterations = (call.chunks + kChunks - 1) / kChunks;
  Call parted = call;
  parted.splits = std::clamp(launch.most_blocks / (token_blocks * feature_blocks), 1, std::clamp(iterations / kMinIterationsPerShare, 1, kMostShares));
  const dim3 grid(static_cast<unsigned>(token_blocks * parted.splits), static_cast<unsigned>(feature_blocks));
  launch_as({.cluster = static_cast<unsigned>(parted.splits)}, name, kernel, grid, dim3(static_cast<unsigned>(launch.threads)),
            static_cast<size_t>(launch.shared_bytes), stream, parted);
}

// Calls `start<scaling, run>` for the kernel that serves the scales of the call.
template <Format F, Operand kOperand, class Start>
void launch_grouped(const Call& call, const Start& start) {
  constexpr bool kIntegers = F == Format::int8 || F == Format::int4;
  if constexpr (bits(F) == 8) {
    if (call.scaling == Scaling::rows) return start.template operator()<Scaling::rows, 4>();
  }
  if constexpr (F == Format::e2m1) {
    if (call.scaling == Scaling::codes) return start.template operator()<Scaling::codes, 1>();
  }
  const auto start_run = [&]<Scaling kScaling>() {
    if (call.group_units % 4 == 0) return start.template operator()<kScaling, 4>();
    if (call.group_units % 2 == 0) return start.template operator()<kScaling, 2>();
    start.template operator()<kScaling, 1>();
  };
  if constexpr (kIntegers && kOperand != Operand::int8) {
    // Code that takes zero points off serves groups without them too.
    start_run.template operator()<Scaling::zeros>();
  } else {
    if constexpr (F == Format::int4) {
      if (call.scaling == Scaling::zeros) return start_run.template operator()<Scaling::zeros>();
    }
    start_run.template operator()<Scaling::groups>();
  }
}

}  // namespace kvant::cuda::linear
