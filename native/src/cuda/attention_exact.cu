// out[t, h] = sum_j softmax_j(scale * q[t, h] . k[j]) v[j]   over positions j = max(0, p - window + 1) .. p of the token's row
// A block works on one token and up to kBlockHeads query heads of one KV head. The positions are cut into splits of a constant
// number of tokens counted from position 0, and a split into tiles of 64. Per head and tile, in this order:
//   logits = (q . k) * (q_scale * scale * k_scale) a warp per position: lanes over head_dim, then a butterfly
//   top' = max(top, max(logits)), fade = exp(top - top'), p = exp(logits - top')
//   total = total * fade + sum(p)                  a warp: lanes over positions, then a butterfly
//   o = o * fade + sum over the tile's positions in order of (p * v_scale) * v
// Splits start anew and join in order of position. Few tokens: a block per split, and a second kernel joins them; many tokens:
// one block goes through the splits and joins them by the same arithmetic. So a token's result has the same bits in any batch,
// chunk or page. Positions that a token does not see are never read.
// Over INT8 pages the query is INT8 too, quantized (AbsMax) per token and head: its codes enter the dot product, whose float32
// sums are exact up to head_dim 1040, and q_scale is their scale. Over other pages q_scale is 1.
// Decode is memory bound: 2 * head_dim codes (and two scales) per position; operations: 4 * head_dim per head and position.
#include <algorithm>
#include <cfloat>
#include <cmath>

#include "cuda/check.h"
#include "cuda/codes.cuh"
#include "cuda/attention_kernels.h"
#include "cuda/reduce.cuh"

namespace kvant::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = 64;
constexpr int kBlockHeads = 8;

// A softmax-weighted sum over some positions: top logit, total weight, unnormalized output.
struct Partial {
  float top, total;
};

// How two parts join; the factors then apply to the outputs: o = o * first + other * second.
__device__ float2 join(Partial& into, const Partial& other) {
  const float top = fmaxf(into.top, other.top);
  const float first = expf(into.top - top), second = expf(other.top - top);
  into.total = fmaf(other.total, second, into.total * first);
  into.top = top;
  return {first, second};
}

__device__ float joined(float o, float other, float2 factors) { return fmaf(other, factors.y, o * factors.x); }

// The block's place in the launch.
struct Work {
  int64_t token;
  int kv_head, first_head, heads;  // query heads [first_head, first_head + heads)
  int position, first_position;    // sees [first_position, position]
};

struct Shared {
  float *q, *o;             // [heads, head_dim]
  float* p;                 // [heads, kTile] logits, then weights times v_scale
  float *tops, *totals, *fades, *q_scales;  // [heads]
};

__device__ Shared shared_of(float* memory, int head_dim) {
  Shared shared;
  shared.q = memory;
  shared.o = shared.q + kBlockHeads * head_dim;
  shared.p = shared.o + kBlockHeads * head_dim;
  shared.tops = shared.p + kBlockHeads * kTile;
  shared.totals = shared.tops + kBlockHeads;
  shared.fades = shared.totals + kBlockHeads;
  shared.q_scales = shared.fades + kBlockHeads;
  return shared;
}

size_t shared_bytes(int head_dim) {
  return static_cast<size_t>(2 * kBlockHeads * head_dim + kBlockHeads * kTile + 4 * kBlockHeads) * sizeof(float);
}

template <Format format>
struct Stored {
  using Code = typename Codes<format>::Code;
  const uint8_t* layer;  // of page 0
  const int32_t* table;  // of the row
  const KvPages& pages;
  int kv_head;

  __device__ const uint8_t* page_at(int position) const {
    return layer + table[position / pages.page_tokens] * pages.page_bytes;
  }
  __device__ int64_t index_at(int position) const {
    return static_cast<int64_t>(kv_head) * pages.page_tokens + position % pages.page_tokens;
  }
  __device__ const Code* key(int position) const {
    return reinterpret_cast<const Code*>(page_at(position) + pages.k_codes) + index_at(position) * pages.head_dim;
  }
  __device__ const Code* value(int position) const {
    return reinterpret_cast<const Code*>(page_at(position) + pages.v_codes) + index_at(position) * pages.head_dim;
  }
  __device__ float scale(const float* statics, int64_t scales, int layer_index, int position) const {
    if constexpr (sizeof(Code) > 1) return 1.0f;
    if (statics != nullptr) return statics[layer_index * pages.kv_heads + kv_head];
    return reinterpret_cast<const float*>(page_at(position) + scales)[index_at(position)];
  }
};

// Leaves the part of positions [begin, end) in shared.o, tops and totals.
template <Format format>
__device__ void run_split(const Work& work, const AttentionArgs& args, const Stored<format>& stored, int begin, int end,
                          const Shared& shared) {
  const KvPages& pages = stored.pages;
  const int head_dim = pages.head_dim, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int i = threadIdx.x; i < work.heads * head_dim; i += kThreads) shared.o[i] = 0;
  if (threadIdx.x < work.heads) {
    shared.tops[threadIdx.x] = -INFINITY;
    shared.totals[threadIdx.x] = 0;
  }
  __syncthreads();
  for (int tile = begin / kTile * kTile; tile < end; tile += kTile) {
    const int from = max(begin, tile) - tile, to = min(end, tile + kTile) - tile;
    for (int j = from + warp; j < to; j += kThreads / 32) {
      const auto* const key = stored.key(tile + j);
      float sums[kBlockHeads] = {};
      for (int d = lane; d < head_dim; d += 32) {
        const float k = Codes<format>::decode(key[d]);
#pragma unroll
        for (int h = 0; h < kBlockHeads; h++) {
          if (h < work.heads) sums[h] = fmaf(shared.q[h * head_dim + d], k, sums[h]);
        }
      }
      const float factor = args.scale * stored.scale(pages.k_static, pages.k_scales, args.layer, tile + j);
#pragma unroll
      for (int h = 0; h < kBlockHeads; h++) {
        if (h >= work.heads) break;
        const float sum = warp_reduce(sums[h], Sum());
        if (lane == 0) shared.p[h * kTile + j] = sum * (shared.q_scales[h] * factor);
      }
    }
    __syncthreads();
    for (int h = warp; h < work.heads; h += kThreads / 32) {
      float* const p = shared.p + h * kTile;
      const bool low = lane >= from && lane < to, high = lane + 32 >= from && lane + 32 < to;
      const float first = low ? p[lane] : -INFINITY, second = high ? p[lane + 32] : -INFINITY;
      const float before = shared.tops[h], top = fmaxf(before, warp_reduce(fmaxf(first, second), Higher()));
      const float a = expf(first - top), b = expf(second - top);
      const float sum = warp_reduce(a + b, Sum());
      if (low) p[lane] = a * stored.scale(pages.v_static, pages.v_scales, args.layer, tile + lane);
      if (high) p[lane + 32] = b * stored.scale(pages.v_static, pages.v_scales, args.layer, tile + lane + 32);
      __syncwarp();  // all lanes have read the top before it changes
      if (lane == 0) {
        const float fade = expf(before - top);
        shared.fades[h] = fade;
        shared.tops[h] = top;
        shared.totals[h] = fmaf(shared.totals[h], fade, sum);
      }
    }
    __syncthreads();
    for (int d = threadIdx.x; d < head_dim; d += kThreads) {
      float o[kBlockHeads];
#pragma unroll
      for (int h = 0; h < kBlockHeads; h++) o[h] = h < work.heads ? shared.o[h * head_dim + d] * shared.fades[h] : 0;
      for (int j = from; j < to; j++) {
        const float v = Codes<format>::decode(stored.value(tile + j)[d]);
#pragma unroll
        for (int h = 0; h < kBlockHeads; h++) {
          if (h < work.heads) o[h] = fmaf(shared.p[h * kTile + j], v, o[h]);
        }
      }
#pragma unroll
      for (int h = 0; h < kBlockHeads; h++) {
        if (h < work.heads) shared.o[h * head_dim + d] = o[h];
      }
    }
    __syncthreads();
  }
}

// Blocks per KV head: parts of at most kBlockHeads query heads.
__host__ __device__ int parts_of(int group) { return (group + kBlockHeads - 1) / kBlockHeads; }

__device__ Work work_of(const AttentionArgs& args, const StepTokens& tokens, const KvPages& pages) {
  Work work;
  const int group = args.heads / pages.kv_heads, parts = parts_of(group);
  work.token = blockIdx.x;
  work.kv_head = blockIdx.y / parts;
  const int in_group = blockIdx.y % parts * kBlockHeads;
  work.first_head = work.kv_head * group + in_group;
  work.heads = min(kBlockHeads, group - in_group);
  work.position = tokens.positions[work.token];
  work.first_position = pages.window > 0 ? max(0, work.position - pages.window + 1) : 0;
  return work;
}

template <Format format>
__device__ Stored<format> stored_of(const Work& work, const AttentionArgs& args, const StepTokens& tokens,
                                    const KvPages& pages) {
  return {pages.base + args.layer * pages.layer_bytes, pages.tables + tokens.slots[work.token] * pages.table_stride, pages,
          work.kv_head};
}

// A warp per head.
template <Format format>
__device__ void load_queries(const Work& work, const AttentionArgs& args, int head_dim, const Shared& shared) {
  const int lane = threadIdx.x % 32;
  for (int h = threadIdx.x / 32; h < work.heads; h += kThreads / 32) {
    const float* const from = args.q + (work.token * args.heads + work.first_head + h) * head_dim;
    float* const q = shared.q + h * head_dim;
    float scale = 1;
    if constexpr (format == Format::int8) {
      float most = 0;
      for (int d = lane; d < head_dim; d += 32) most = fabsf(from[d]) > most ? fabsf(from[d]) : most;
      scale = fminf(warp_reduce(most, Most()), FLT_MAX) / max_value(format);
      for (int d = lane; d < head_dim; d += 32) {
        q[d] = scale == 0 ? 0.0f : Codes<format>::decode(Codes<format>::encode(from[d] / scale));
      }
    } else {
      for (int d = lane; d < head_dim; d += 32) q[d] = from[d];
    }
    if (lane == 0) shared.q_scales[h] = scale;
  }
}

// scratch: outputs [tokens, heads, kMaxSplits, head_dim], then parts [tokens, heads, kMaxSplits].
struct Scratch {
  float* outputs;
  Partial* parts;
};

template <Format format>
__global__ void attention_splits(AttentionArgs args, StepTokens tokens, KvPages pages, int split_tokens, Scratch scratch) {
  extern __shared__ float memory[];
  if (tokens.slots[blockIdx.x] < 0) return;
  const Work work = work_of(args, tokens, pages);
  const int split = blockIdx.z, begin = max(split * split_tokens, work.first_position);
  const int end = min((split + 1) * split_tokens, work.position + 1);
  if (begin >= end) return;
  const Shared shared = shared_of(memory, pages.head_dim);
  load_queries<format>(work, args, pages.head_dim, shared);
  run_split(work, args, stored_of<format>(work, args, tokens, pages), begin, end, shared);
  for (int h = 0; h < work.heads; h++) {
    const int64_t at = (work.token * args.heads + work.first_head + h) * kMaxSplits + split;
    if (threadIdx.x == 0) scratch.parts[at] = {shared.tops[h], shared.totals[h]};
    for (int d = threadIdx.x; d < pages.head_dim; d += kThreads) {
      scratch.outputs[at * pages.head_dim + d] = shared.o[h * pages.head_dim + d];
    }
  }
}

// One block per token and head.
__global__ void join_splits(AttentionArgs args, StepTokens tokens, int window, int head_dim, int split_tokens, Scratch scratch) {
  const int64_t token = blockIdx.x, head = token * args.heads + blockIdx.y;
  const bool is_padding = tokens.slots[token] < 0;
  const int position = is_padding ? 0 : tokens.positions[token];
  const int first = window > 0 ? max(0, position - window + 1) / split_tokens : 0, last = position / split_tokens;
  for (int d = threadIdx.x; d < head_dim; d += blockDim.x) {
    float o = 0;
    Partial all = {-INFINITY, 0};
    for (int split = first; !is_padding && split <= last; split++) {
      const int64_t at = head * kMaxSplits + split;
      const float2 factors = join(all, scratch.parts[at]);
      o = joined(o, scratch.outputs[at * head_dim + d], factors);
    }
    args.out[head * head_dim + d] = is_padding ? 0 : o / all.total;
  }
}

// One block per token goes through all splits; outputs of the joined part live in args.out until the end.
template <Format format>
__global__ void attention_whole(AttentionArgs args, StepTokens tokens, KvPages pages, int split_tokens) {
  extern __shared__ float memory[];
  const int head_dim = pages.head_dim;
  const Work work = work_of(args, tokens, pages);
  float* const out = args.out + (work.token * args.heads + work.first_head) * head_dim;
  if (tokens.slots[work.token] < 0) {
    for (int i = threadIdx.x; i < work.heads * head_dim; i += kThreads) out[i] = 0;
    return;
  }
  const Shared shared = shared_of(memory, head_dim);
  load_queries<format>(work, args, head_dim, shared);
  Partial all[kBlockHeads];
  for (int h = 0; h < kBlockHeads; h++) all[h] = {-INFINITY, 0};
  const Stored<format> stored = stored_of<format>(work, args, tokens, pages);
  for (int split = work.first_position / split_tokens; split <= work.position / split_tokens; split++) {
    const int begin = max(split * split_tokens, work.first_position), end = min((split + 1) * split_tokens, work.position + 1);
    run_split(work, args, stored, begin, end, shared);
    const bool is_first = split == work.first_position / split_tokens;
#pragma unroll
    for (int h = 0; h < kBlockHeads; h++) {
      if (h >= work.heads) break;
      const float2 factors = join(all[h], {shared.tops[h], shared.totals[h]});
      for (int d = threadIdx.x; d < head_dim; d += kThreads) {
        const float o = is_first ? 0 : out[h * head_dim + d];
        out[h * head_dim + d] = joined(o, shared.o[h * head_dim + d], factors);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int h = 0; h < kBlockHeads; h++) {
    if (h >= work.heads) break;
    for (int d = threadIdx.x; d < head_dim; d += kThreads) out[h * head_dim + d] /= all[h].total;
  }
}

constexpr Format kKvFormats[] = {Format::fp32, Format::bf16, Format::fp16, Format::e4m3, Format::e5m2, Format::int8};

}  // namespace

int attention_split_tokens(int64_t context_length) {
  const int64_t least = (context_length + kMaxSplits - 1) / kMaxSplits;
  return static_cast<int>((least + kTile - 1) / kTile * kTile);
}

size_t attention_exact_scratch_bytes(int heads, int head_dim, int64_t max_tokens) {
  const int64_t tokens = std::min(max_tokens, kMaxSplitTokens);
  return static_cast<size_t>(tokens * heads * kMaxSplits) * (static_cast<size_t>(head_dim) * sizeof(float) + sizeof(Partial));
}

void prepare_attention_exact() {
  int device = 0, most = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "reading the shared memory limit");
  for (Format format : kKvFormats) {
    with_format(format, [&](auto tag) {
      constexpr auto attribute = cudaFuncAttributeMaxDynamicSharedMemorySize;
      check(cudaFuncSetAttribute(attention_splits<decltype(tag)::format>, attribute, most), "attention's shared memory");
      check(cudaFuncSetAttribute(attention_whole<decltype(tag)::format>, attribute, most), "attention's shared memory");
    });
  }
}

void attention_exact(const AttentionArgs& args, const StepTokens& tokens, const KvPages& pages, int split_tokens, void* scratch,
                     Stream stream) {
  const auto count = static_cast<unsigned>(tokens.count);
  const auto parts = static_cast<unsigned>(pages.kv_heads * parts_of(args.heads / pages.kv_heads));
  const size_t shared = shared_bytes(pages.head_dim);
  if (tokens.count > kMaxSplitTokens) {
    with_format(pages.format, [&](auto tag) {
      attention_whole<decltype(tag)::format><<<dim3(count, parts), kThreads, shared, stream>>>(args, tokens, pages, split_tokens);
    });
    return check_launch("attention");
  }
  auto* const outputs = static_cast<float*>(scratch);
  const int64_t all = tokens.count * args.heads * kMaxSplits;
  const Scratch split_scratch = {outputs, reinterpret_cast<Partial*>(outputs + all * pages.head_dim)};
  with_format(pages.format, [&](auto tag) {
    attention_splits<decltype(tag)::format>
        <<<dim3(count, parts, kMaxSplits), kThreads, shared, stream>>>(args, tokens, pages, split_tokens, split_scratch);
  });
  check_launch("attention_splits");
  const dim3 grid(count, static_cast<unsigned>(args.heads));
  join_splits<<<grid, kThreads, 0, stream>>>(args, tokens, pages.window, pages.head_dim, split_tokens, split_scratch);
  check_launch("join_splits");
}

}  // namespace kvant::cuda
