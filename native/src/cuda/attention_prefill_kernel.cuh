#pragma once
#include "cuda/attention_prefill.cuh"
#include "cuda/launch.cuh"

#include <algorithm>

namespace kvant::cuda {
namespace prefill {

#ifdef KVANT_WARPGROUP

// One thread of a warpgroup of 64 query rows. Lane (g, t) of warp w has rows 16w + g and 16w + g + 8: index r below.
template <class S>
class Consumer {
 public:
  using Sum = std::conditional_t<S::kInt8, int, float>;

  __device__ Consumer(const Work<S>& work, const AttentionArgs& args, const AttentionOutput& output, const KvPages& pages)
      : run_(work.run), args_(args), output_(output), group_(args.heads / pages.kv_heads), first_head_(work.kv_head * group_) {
    const Run& run = run_;
    const int warp = threadIdx.x % 128 / 32, warpgroup = threadIdx.x / 128 - 1;
    first_row_ = warpgroup * 64 + warp * 16;
    const bool is_static = S::kScaled && pages.k_static != nullptr;
    const int at_scale = args.layer * pages.kv_heads + work.kv_head;
    const float logit_scale = args.scale * kLog2E * (is_static ? pages.k_static[at_scale] : 1);
    output_gain_ = (S::kBf16 ? 1 : 1 / kWeightGain) * (is_static ? pages.v_static[at_scale] : 1);
#pragma unroll
    for (int r = 0; r < 2; r++) {
      position_[r] = run.position + min(run.tokens - 1, row(r) / group_);
      lowest_[r] = lowest_position(position_[r], pages.window);
      factor_[r] = work.scales[row(r)] * logit_scale;
      top_[r] = kNoTop;
      total_[r] = 0;
    }
    warp_position_ = run.position + min(run.tokens - 1, first_row_ / group_);
    warp_lowest_ = lowest_position(run.position + min(run.tokens - 1, (first_row_ + 15) / group_), pages.window);
    unit_ = S::kScaled ? kLeastUnit : 1;
#pragma unroll
    for (float& x : o_) x = 0;
  }

  __device__ const Run& run() const { return run_; }

  __device__ void start_scores(uint32_t queries, uint32_t keys) {
#pragma unroll
    for (int step = 0; step < S::kSteps; step++) {
      const uint32_t at = step / 4 * kBlockBytes + step % 4 * 32;
      const uint64_t a = swizzled_operand(queries + at), b = swizzled_operand(keys + at);
      if constexpr (S::kInt8) warpgroup_step_int8(s_, a, b, step > 0);
      else if constexpr (S::kBf16) warpgroup_step_bf16(s_, a, b, step > 0);
      else warpgroup_step_fp16(s_, a, b, step > 0);
    }
  }

  __device__ void start_values(uint32_t values) {
#pragma unroll
    for (int step = 0; step < kTile / 16; step++) {
      if constexpr (S::kBf16) warpgroup_step_bf16(o_, p_[step], swizzled_operand(values + step * 32));
      else warpgroup_step_fp16(o_, p_[step], swizzled_operand(values + step * 32));
    }
  }

  // Turns the scores of a tile into the next weights. scales: [2, 64] of the tile, and the largest of each 32.
  __device__ void weigh(int tile, const float* scales) {
    const int lane = threadIdx.x % 32, t = lane % 4;
    float most[2] = {-INFINITY, -INFINITY}, most_scale = 0;
    if constexpr (S::kScaled) most_scale = fmaxf(scales[2 * kTile + 2], scales[2 * kTile + 3]);
#pragma unroll
    for (int j = 0; j < 8; j++) {
      float2 k_scale = {1, 1};
      if constexpr (S::kScaled) {
        k_scale = *reinterpret_cast<const float2*>(scales + 8 * j + 2 * t);
      }
#pragma unroll
      for (int i = 0; i < 4; i++) y_[4 * j + i] = static_cast<float>(s_[4 * j + i]) * (i % 2 == 0 ? k_scale.x : k_scale.y);
    }
    if (tile * kTile + kTile - 1 > warp_position_ || tile * kTile < warp_lowest_) {
#pragma unroll
      for (int i = 0; i < 32; i++) {
        const int position = tile * kTile + i / 4 * 8 + 2 * t + i % 2, r = i / 2 % 2;
        if (position > position_[r] || position < lowest_[r]) y_[i] = -INFINITY;
      }
    }
#pragma unroll
    for (int i = 0; i < 32; i++) most[i / 2 % 2] = fmaxf(most[i / 2 % 2], y_[i]);
    const float tops[2] = {most[0] * factor_[0], most[1] * factor_[1]};
    rescales_ = __any_sync(0xffffffffu, tops[0] > top_[0] + kTopLag || tops[1] > top_[1] + kTopLag || most_scale > unit_);
    if (rescales_) {
      float ratio = 1;
      if constexpr (S::kScaled) {
        if (most_scale > unit_) {
          ratio = unit_ / most_scale;
          unit_ = most_scale;
        }
      }
#pragma unroll
      for (int r = 0; r < 2; r++) {
        float top = fmaxf(tops[r], __shfl_xor_sync(0xffffffffu, tops[r], 1));
        top = fmaxf(fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2)), top_[r]);
        const float fade = exp2_fast(top_[r] - top);
        top_[r] = top;
        total_[r] *= fade;
        fade_[r] = fade * ratio;
      }
    }
    const float gain = S::kBf16 ? 1.0f : S::kScaled ? kWeightGain / unit_ : kWeightGain;
#pragma unroll
    for (int j = 0; j < 8; j++) {
      float2 v_gain = {gain, gain};
      if constexpr (S::kScaled) {
        const float2 v_scale = *reinterpret_cast<const float2*>(scales + kTile + 8 * j + 2 * t);
        v_gain = {v_scale.x * gain, v_scale.y * gain};
      }
#pragma unroll
      for (int r = 0; r < 2; r++) {
        float low = exp2_fast(fmaf(y_[4 * j + 2 * r], factor_[r], -top_[r]));
        float high = exp2_fast(fmaf(y_[4 * j + 2 * r + 1], factor_[r], -top_[r]));
        total_[r] += low + high;
        if constexpr (!S::kBf16) low *= v_gain.x, high *= v_gain.y;
        y_[4 * j + 2 * r] = low, y_[4 * j + 2 * r + 1] = high;
      }
    }
  }

  // After the steps that read the weights before have ended.
  __device__ void take_weights() {
    if (rescales_) {
#pragma unroll
      for (int i = 0; i < S::head_dim / 2; i++) o_[i] *= fade_[i / 2 % 2];
    }
#pragma unroll
    for (int i = 0; i < 16; i++) p_[i / 4][i % 4] = pack<S::kBf16>(y_[2 * i], y_[2 * i + 1]);
  }

  __device__ void write() {
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float total = total_[r] + __shfl_xor_sync(0xffffffffu, total_[r], 1);
      total += __shfl_xor_sync(0xffffffffu, total, 2);
      const int token = row(r) / group_, head = row(r) % group_;
      if (token >= run_.tokens) continue;
      const float gain = output_gain_ * unit_ / total;
      const int64_t out = ((run_.first + token) * args_.heads + first_head_ + head) * S::head_dim;
      if constexpr (S::kChunks % 8 == 0) {
        constexpr int kEach = S::kChunks / 8;  // column tiles from one number of a chunk to the next
#pragma unroll
        for (int part = 0; part < kEach * 2; part++) {
          const int chunk = part / 2 * 8 + 2 * t + part % 2;
#pragma unroll
          for (int i = 0; i < S::kChunk; i += 4) {
            const auto at = [&](int k) { return o_[(((i + k) * kEach) + part / 2) * 4 + 2 * r + part % 2] * gain; };
            write_four(output_, out + chunk * S::kChunk + i, {at(0), at(1), at(2), at(3)});
          }
        }
      } else {
#pragma unroll
        for (int i = 0; i < S::head_dim / 4; i++) {
          write_one(output_, out + S::dim_of_column(i / 2 * 8 + 2 * t + i % 2), o_[i / 2 * 4 + 2 * r + i % 2] * gain);
        }
      }
    }
  }

 private:
  __device__ int row(int r) const { return first_row_ + static_cast<int>(threadIdx.x % 32) / 4 + 8 * r; }

  const Run run_;
  const AttentionArgs& args_;
  const AttentionOutput& output_;
  int group_, first_head_, first_row_, warp_position_, warp_lowest_;
  int position_[2], lowest_[2];
  float factor_[2], top_[2], total_[2], fade_[2], unit_, output_gain_;
  bool rescales_;
  Sum s_[32];
  float y_[32];  // scores, then weights
  uint32_t p_[4][4];
  float o_[S::head_dim / 2];
};

#endif

// The work of a block, in turn: a KV head and a stretch of kRows / group tokens. The last stretches, which see most, come first;
// every other round of the grid is dealt backwards, which evens it out.
class Deal {
 public:
  __device__ Deal(const StepTokens& tokens, int kv_heads, int each)
      : count_(tokens.count), kv_heads_(kv_heads), each_(each), stretches_(static_cast<int>((count_ + each - 1) / each)) {}
  __device__ bool next(int& kv_head, int64_t& begin, int64_t& end) {
    const int64_t place = round_ % 2 == 0 ? blockIdx.x : gridDim.x - 1 - blockIdx.x, item = round_ * gridDim.x + place;
    round_++;
    if (item >= int64_t{stretches_} * kv_heads_) return false;
    kv_head = static_cast<int>(item % kv_heads_);
    begin = (stretches_ - 1 - item / kv_heads_) * each_;
    end = min(count_, begin + each_);
    return true;
  }

 private:
  int64_t count_, round_ = 0;
  int kv_heads_, each_, stretches_;
};

template <Format format, int head_dim>
__global__ void __launch_bounds__(Shape<format, head_dim>::kThreads, 1)
    attention_prefill_kernel(const AttentionArgs args, const AttentionOutput output, const StepTokens tokens, const KvPages pages) {
#ifdef KVANT_WARPGROUP
  using S = Shape<format, head_dim>;
  static_assert(sizeof(Memory<S>) + 1024 <= 227 * 1024);
  extern __shared__ uint8_t unaligned[];
  auto& memory = *reinterpret_cast<Memory<S>*>(unaligned + (1024 - shared_address(unaligned) % 1024) % 1024);
  const uint32_t full = shared_address(memory.full), empty = shared_address(memory.empty);
  const uint32_t queries_full = shared_address(memory.queries_full), queries_empty = shared_address(memory.queries_empty);
  if (threadIdx.x == 0) {
    for (int i = 0; i < S::kStages; i++) init_barrier(full + i * 8, kProducers), init_barrier(empty + i * 8, S::kConsumers * 4);
    for (int i = 0; i < 2; i++) init_barrier(queries_full + i * 8, kProducers), init_barrier(queries_empty + i * 8, S::kConsumers * 4);
    publish_barriers();
  }
  let_next_start();
  wait_for_inputs();
  __syncthreads();

  int stage = 0, phase = 0, slot = 0, slot_phase = 0;
  const auto advance = [&] {
    if (++stage == S::kStages) stage = 0, phase ^= 1;
  };
  const auto advance_slot = [&] {
    if (++slot == 2) slot = 0, slot_phase ^= 1;
  };
  // Registers go where they are needed: 168 per thread were given to all.
  if (threadIdx.x < kProducers) {
    if constexpr (S::kConsumers == 2) asm volatile("setmaxnreg.dec.sync.aligned.u32 152;");
    const int group = args.heads / pages.kv_heads;
    Deal deal(tokens, pages.kv_heads, S::kRows / group);
    int kv_head;
    int64_t at, end;
    Run run;
    while (deal.next(kv_head, at, end)) {
      while (next_run(tokens, pages.window, at, end, run)) {
        Producer<S> producer(run, kv_head, args, pages);
        wait_barrier(queries_empty + slot * 8, slot_phase ^ 1);
        QueryWriter<S>(run, kv_head, args, group).write(memory.queries[slot], memory.work[slot].scales);
        if (threadIdx.x == 0) memory.work[slot].run = run, memory.work[slot].kv_head = kv_head;
        publish_operands();
        arrive(queries_full + slot * 8);
        advance_slot();
        producer.template load<0>(run.first_tile);
        const auto pass = [&]<int set>(int tile) {
          if (tile >= run.end_tile) return;
          wait_barrier(empty + stage * 8, phase ^ 1);
          producer.template store<set>(memory.stages[stage], memory.scales[stage]);
          publish_operands();
          arrive(full + stage * 8);
          advance();
          if (tile + S::kSets < run.end_tile) producer.template load<set>(tile + S::kSets);
        };
        if (S::kSets > 1 && run.first_tile + 1 < run.end_tile) producer.template load<S::kSets - 1>(run.first_tile + 1);
        for (int tile = run.first_tile; tile < run.end_tile; tile += S::kSets) {
          pass.template operator()<0>(tile);
          if constexpr (S::kSets > 1) pass.template operator()<S::kSets - 1>(tile + 1);
        }
      }
    }
    wait_barrier(queries_empty + slot * 8, slot_phase ^ 1);
    if (threadIdx.x == 0) memory.work[slot].run.tokens = 0;
    arrive(queries_full + slot * 8);
    return;
  }

  if constexpr (S::kConsumers == 2) asm volatile("setmaxnreg.inc.sync.aligned.u32 176;");
  const uint32_t own_queries = shared_address(memory.queries) + (threadIdx.x / 128 - 1) * S::kKeyBytes;
  const uint32_t stages = shared_address(memory.stages);
  const auto release = [&](uint32_t barrier) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) arrive(barrier);
  };
  while (true) {
    wait_barrier(queries_full + slot * 8, slot_phase);
    if (memory.work[slot].run.tokens == 0) return;
    Consumer<S> consumer(memory.work[slot], args, output, pages);
    const uint32_t queries = own_queries + slot * S::kQueryBytes;
    const int first_tile = consumer.run().first_tile, end_tile = consumer.run().end_tile;
    wait_barrier(full + stage * 8, phase);
    warpgroup_begin();
    consumer.start_scores(queries, stages + stage * S::kStage);
    warpgroup_commit();
    warpgroup_wait<0>();
    consumer.weigh(first_tile, memory.scales[stage]);
    consumer.take_weights();
    int before = stage;
    advance();
    for (int tile = first_tile + 1; tile < end_tile; tile++) {
      wait_barrier(full + stage * 8, phase);
      warpgroup_begin();
      consumer.start_scores(queries, stages + stage * S::kStage);
      warpgroup_commit();
      consumer.start_values(stages + before * S::kStage + S::kKeyBytes);
      warpgroup_commit();
      warpgroup_wait<1>();
      consumer.weigh(tile, memory.scales[stage]);
      warpgroup_wait<0>();
      release(empty + before * 8);
      consumer.take_weights();
      before = stage;
      advance();
    }
    release(queries_empty + slot * 8);
    advance_slot();
    warpgroup_begin();
    consumer.start_values(stages + before * S::kStage + S::kKeyBytes);
    warpgroup_commit();
    warpgroup_wait<0>();
    release(empty + before * 8);
    consumer.write();
  }
#else
  __trap();  // attention() asks launches_overlap() first
#endif
}

template <Format format, int head_dim>
void launch_prefill(const AttentionArgs& args, const StepTokens& tokens, const KvPages& pages, const AttentionOutput& output, int multiprocessors, Stream stream) {
  using S = Shape<format, head_dim>;
  const auto kernel = attention_prefill_kernel<format, head_dim>;
  constexpr int kBytes = 1024 + sizeof(Memory<S>);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes), "attention's shared memory");
  const int64_t each = S::kRows / (args.heads / pages.kv_heads), items = (tokens.count + each - 1) / each * pages.kv_heads;
  const dim3 grid(static_cast<unsigned>(std::min<int64_t>(items, multiprocessors)));
  launch("attention_prefill", kernel, grid, dim3(S::kThreads), kBytes, stream, args, output, tokens, pages);
}

template <Format format>
void launch_prefill(const AttentionArgs& args, const StepTokens& tokens, const KvPages& pages, const AttentionOutput& output, int multiprocessors, Stream stream) {
  switch (pages.head_dim) {
    case 64: return launch_prefill<format, 64>(args, tokens, pages, output, multiprocessors, stream);
    case 96: return launch_prefill<format, 96>(args, tokens, pages, output, multiprocessors, stream);
    case 128: return launch_prefill<format, 128>(args, tokens, pages, output, multiprocessors, stream);
    default: return launch_prefill<format, 256>(args, tokens, pages, output, multiprocessors, stream);
  }
}

}  // namespace prefill
}  // namespace kvant::cuda
