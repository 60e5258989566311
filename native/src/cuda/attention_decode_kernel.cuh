#pragma once
#include "cuda/attention_decode.cuh"

namespace kvant::cuda {
namespace decode {

// Joins the block's warps: writes outputs of an item that is all the block's, else the block's part of it.
template <class S>
__device__ void join_warps(const Merge<S>& merge, const Item& item, const DecodeLaunch& launch, int head_dim, bool is_whole,
                           float* parts, float* outputs) {
  const int vectors = head_dim / 4;
  for (int i = threadIdx.x; i < item.heads * vectors; i += S::kThreads) {
    const int head = i / vectors, d = i % vectors * 4;
    float top = kNoTop, total = 0;
#pragma unroll
    for (int warp = 0; warp < S::kWarps; warp++) top = fmaxf(top, merge.tops[warp][head]);
    float4 o = {};
#pragma unroll
    for (int warp = 0; warp < S::kWarps; warp++) {
      const float factor = exp2_fast(merge.tops[warp][head] - top);
      total = fmaf(merge.totals[warp][head], factor, total);
      add_scaled(o, *reinterpret_cast<const float4*>(&merge.outputs[warp][head][d]), factor);
    }
    if (is_whole) {
      float4 out = {};
      add_scaled(out, o, 1 / total);
      write_four(launch.output, (item.token * launch.args.heads + item.first_head + head) * head_dim + d, out);
    } else {
      if (d == 0) *reinterpret_cast<float2*>(parts + 2 * head) = {top, total};
      *reinterpret_cast<float4*>(outputs + head * head_dim + d) = o;
    }
  }
}

// Counts one more at `count`; returns how many there were. Releases and acquires on the device.
__device__ inline unsigned add_and_order(unsigned* count) {
  unsigned before;
  asm volatile("atom.add.acq_rel.gpu.global.u32 %0, [%1], 1;" : "=r"(before) : "l"(count) : "memory");
  return before;
}

constexpr int kJoinAhead = 4;  // parts that a thread asks for at a time

// Joins the parts of blocks first .. last. The first left its part as the one that others end, the others as begun before.
__device__ inline void join_blocks(const DecodeLaunch& launch, int first, int last, const Item& item, int head_dim) {
  const DecodeScratch& scratch = launch.scratch;
  const int vectors = head_dim / 4;
  for (int i = threadIdx.x; i < item.heads * vectors; i += blockDim.x) {
    const int head = i / vectors, d = i % vectors * 4;
    float top = kNoTop, total = 0;
    float4 o = {};
    for (int from = first; from <= last; from += kJoinAhead) {
      float2 parts[kJoinAhead];
      float4 x[kJoinAhead];
#pragma unroll
      for (int j = 0; j < kJoinAhead; j++) {
        const int block = min(from + j, last);
        const unsigned at = static_cast<unsigned>((block * 2 + (block == first ? 1 : 0)) * kDecodeHeads + head);
        parts[j] = __ldcg(reinterpret_cast<const float2*>(scratch.parts + 2 * at));
        x[j] = __ldcg(reinterpret_cast<const float4*>(scratch.outputs + at * head_dim + d));
      }
#pragma unroll
      for (int j = 0; j < kJoinAhead; j++) {
        if (from + j > last) parts[j].x = kNoTop, parts[j].y = 0;
        const float higher = fmaxf(top, parts[j].x), fade = exp2_fast(top - higher), factor = exp2_fast(parts[j].x - higher);
        top = higher;
        total = fmaf(total, fade, parts[j].y * factor);
        o = {o.x * fade, o.y * fade, o.z * fade, o.w * fade};
        add_scaled(o, x[j], factor);
      }
    }
    float4 out = {};
    add_scaled(out, o, 1 / total);
    write_four(launch.output, (item.token * launch.args.heads + item.first_head + head) * head_dim + d, out);
  }
}

template <Format format, int head_dim, int column_tiles>
__global__ void __launch_bounds__(Shape<format, head_dim, column_tiles>::kThreads,
                                  Shape<format, head_dim, column_tiles>::kBlocksPerSm)
    attention_decode_kernel(const DecodeLaunch launch, const KvPages pages) {
  using S = Shape<format, head_dim, column_tiles>;
  extern __shared__ __align__(128) uint8_t memory[];
  __shared__ typename Shares<S::kWarps>::Memory shares_memory;
  __shared__ __align__(16) Queries<S> queries;
  __shared__ __align__(16) Fresh<S> fresh;
  __shared__ bool is_last;
  static_assert(sizeof shares_memory + sizeof queries + sizeof fresh + 32 <= S::kStaticBytes);
  let_next_start();
  if (!launch.reads_early) wait_for_inputs();

  const AttentionArgs& args = launch.args;
  const int group = args.heads / pages.kv_heads, parts = (group + S::kHeads - 1) / S::kHeads;
  Shares<S::kWarps> shares(launch, pages.window, pages.kv_heads * parts, shares_memory);
  const int warp = threadIdx.x / 32, t = threadIdx.x % 4;
  Stretch stretch;
  while (shares.next(stretch)) {
    Item item;
    item.token = launch.first_token + stretch.index;
    item.slot = shares.token(stretch.index).slot;
    item.kv_head = stretch.which / parts;
    item.first_head = item.kv_head * group + stretch.which % parts * S::kHeads;
    item.heads = min(S::kHeads, group - stretch.which % parts * S::kHeads);
    item.highest = shares.token(stretch.index).position;
    item.lowest = lowest_position(item.highest, pages.window);
    item.first_tile = item.lowest / kTile + stretch.begin;
    item.end_tile = item.lowest / kTile + stretch.end;

    Fetch<S> fetch(item, args, pages, memory + warp * S::kStages * S::kStage);
    HeadLoad<S, format> heads(item, launch, pages, launch.stores && stretch.end == stretch.tiles);
    for (int stage = 0; stage < S::kStages - 1; stage++) {
      if (!launch.stores && fetch.next_is_last()) wait_for_inputs();
      fetch.start(stage);
    }
    wait_for_inputs();
    heads.read();
    heads.leave(queries, fresh, pages, stretch.which % parts == 0);
    __syncthreads();

    uint32_t q[column_tiles][S::kSteps * S::kParts][2];
    float factor[column_tiles];
    Part<S, column_tiles> part = {};
#pragma unroll
    for (int n = 0; n < column_tiles; n++) {
      load_columns<S>(queries, n, q[n]);
      factor[n] = queries.scales[n * 4 + t] * args.scale * kLog2E;
      part.top[n] = kNoTop;
    }
    part.unit = kLeastUnit;
    const bool dynamic = S::kScaled && pages.k_static == nullptr;
    float2 static_scales = {1, 1};
    if (S::kScaled && !dynamic) {
      const int at_scale = args.layer * pages.kv_heads + item.kv_head;
      static_scales = {pages.k_static[at_scale], pages.v_static[at_scale]};
    }

    int stage = 0;
    for (int i = 0; i < fetch.count(); i++) {
      wait_copies<S::kStages - 2>();
      __syncwarp();  // the tile is there for all lanes, and all have left the one before
      fetch.start(stage == 0 ? S::kStages - 1 : stage - 1);
      uint8_t* const at_stage = memory + (warp * S::kStages + stage) * S::kStage;
      if (launch.stores && fetch.is_last(i)) freshen<S>(at_stage, item.highest, fresh, dynamic);
      add_tile<S, format, column_tiles>(at_stage, q, factor, static_scales, dynamic, fetch.position(i), item, part);
      stage = stage + 1 == S::kStages ? 0 : stage + 1;
    }
    wait_copies<0>();
    __syncthreads();
    auto& merge = *reinterpret_cast<Merge<S>*>(memory);
    leave_part(part, (S::kScaled ? part.unit : 1.0f) / (kIsBf16<format> ? 1.0f : kWeightGain), merge);
    __syncthreads();
    const bool is_whole = stretch.begin == 0 && stretch.end == stretch.tiles;
    const int64_t place = (int64_t{blockIdx.x} * 2 + (stretch.begin == 0 ? 1 : 0)) * kDecodeHeads;
    join_warps<S>(merge, item, launch, head_dim, is_whole, launch.scratch.parts + 2 * place, launch.scratch.outputs + place * head_dim);
    if (!is_whole) {
      __syncthreads();
      if (threadIdx.x == 0) {
        unsigned* const arrived = launch.scratch.arrived + stretch.first_block;
        // The block's parts, which the barrier puts before it, are seen by who sees the count, and theirs from here on.
        is_last = add_and_order(arrived) == static_cast<unsigned>(stretch.last_block - stretch.first_block);
        if (is_last) *arrived = 0;
      }
      __syncthreads();
      if (is_last) join_blocks(launch, stretch.first_block, stretch.last_block, item, head_dim);
    }
    __syncthreads();  // the ring fills anew
  }
  wait_for_inputs();
  for (int i = blockIdx.x; i < launch.token_count; i += gridDim.x) {
    if (shares.token(i).slot != kPadding) continue;
    const int width = args.heads * head_dim;
    for (int d = threadIdx.x * 4; d < width; d += S::kThreads * 4) write_four(launch.output, (launch.first_token + i) * width + d, {});
  }
}

template <Format format, int head_dim, int column_tiles>
void launch_decode(const DecodeLaunch& launch_args, const KvPages& pages, Stream stream) {
  using S = Shape<format, head_dim, column_tiles>;
  const auto kernel = attention_decode_kernel<format, head_dim, column_tiles>;
  const int shared_bytes = S::shared_bytes(!launches_overlap());
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes), "attention's shared memory");
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, 100), "attention's shared memory");
  // Products that stream weights run beside attention and need first-level cache for what they have in flight. With few tokens they
  // have most of the step to read: so one block, and no more shared memory than that takes. H100, llama3-8b, one token of context
  // 512: a step of BF16 weights takes 5.6 ms in place of 6.4, of INT8 weights 3.4 in place of 3.7.
  const bool is_small = launch_args.token_count <= kFewTokens;
  const int blocks = launch_args.multiprocessors * (is_small ? 1 : S::kBlocksPerSm);
  const LaunchOptions options = {.shared_percent = is_small ? kSharedPercentOfFewTokens : -1};
  launch_as(options, "attention_decode", kernel, dim3(static_cast<unsigned>(blocks)), dim3(S::kThreads), shared_bytes, stream, launch_args, pages);
}

// Column tiles by head dim: as many as fit the registers.
template <Format format>
void launch_decode(const DecodeLaunch& launch, const KvPages& pages, Stream stream) {
  const bool few_heads = launch.args.heads / pages.kv_heads <= 4;
  switch (pages.head_dim) {
    case 64: return launch_decode<format, 64, 2>(launch, pages, stream);
    case 96: return launch_decode<format, 96, 1>(launch, pages, stream);
    case 128: return few_heads ? launch_decode<format, 128, 1>(launch, pages, stream) : launch_decode<format, 128, 2>(launch, pages, stream);
    default: return launch_decode<format, 256, 1>(launch, pages, stream);
  }
}

}  // namespace decode
}  // namespace kvant::cuda
