#pragma once
#include "cuda/attention_prefill_queries.cuh"
#include "cuda/launch.cuh"

#include <algorithm>

namespace kvant::cuda {
namespace prefill {

#ifdef KVANT_WARPGROUP

constexpr int kStagedBytes = 2048;  // of a warp: the queries of its rows, 128 bytes of each, have been there
static_assert(4 * kStagedBytes == kBlockBytes);

// The threads of a warpgroup wait for each other.
__device__ __forceinline__ void wait_for_warpgroup() { asm volatile("bar.sync %0, 128;" ::"r"(1 + threadIdx.x / 128) : "memory"); }

// One thread of a warpgroup of 64 query rows. Lane (g, t) of warp w has rows 16w + g and 16w + g + 8: index r below.
template <class S>
class Consumer {
 public:
  using Sum = std::conditional_t<S::kInt8, int, float>;

  __device__ Consumer(const Work<S>& work, const AttentionArgs& args, const AttentionOutput& output, const KvPages& pages)
      : run_(work.run), args_(args), output_(output), group_(args.heads / pages.kv_heads), first_head_(work.kv_head * group_) {
    const Run& run = run_;
    const int warp = threadIdx.x % 128 / 32, warpgroup = (threadIdx.x - S::kFirstConsumer) / 128;
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

  // rows: kStagedBytes of shared memory, the warp's own.
  __device__ void write(uint8_t* rows) const {
    float gains[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float total = total_[r] + __shfl_xor_sync(0xffffffffu, total_[r], 1);
      total += __shfl_xor_sync(0xffffffffu, total, 2);
      gains[r] = output_gain_ * unit_ / total;
    }
    if constexpr (S::kChunks % 8 == 0) {
      if (output_.format == Format::bf16) write_rows<Format::bf16>(gains, rows);
      else if (output_.format == Format::fp16) write_rows<Format::fp16>(gains, rows);
      else write_rows<Format::fp32>(gains, rows);
    } else {
      const int t = threadIdx.x % 4;
#pragma unroll
      for (int r = 0; r < 2; r++) {
        const int64_t out = place_of(row(r));
#pragma unroll
        for (int i = 0; out >= 0 && i < S::head_dim / 4; i++) {
          write_one(output_, out + S::dim_of_column(i / 2 * 8 + 2 * t + i % 2), o_[i / 2 * 4 + 2 * r + i % 2] * gains[r]);
        }
      }
    }
  }

 private:
  __device__ int row(int r) const { return first_row_ + static_cast<int>(threadIdx.x % 32) / 4 + 8 * r; }

  // The first output of a query row of the block; -1 where there is none.
  __device__ int64_t place_of(int row) const {
    const int token = row / group_, head = first_head_ + row % group_;
    return token < run_.tokens ? ((run_.first + token) * args_.heads + head) * S::head_dim : -1;
  }

  // A lane holds two runs of kChunk numbers for each 16 chunks of a row. Pieces of 16 bytes change lanes in shared memory, so that lanes
  // which write together fill lines; there they lie so that lanes of one store and of one load find different banks.
  template <Format format>
  __device__ void write_rows(const float (&gains)[2], uint8_t* rows) const {
    using Code = typename Codes<format>::Code;
    constexpr int kEach = S::kChunks / 8, kNumbers = 16 / sizeof(Code), kPieces = S::head_dim / kNumbers;  // of a piece, of a row
    constexpr int kAtOnce = std::min<int>(8, kStagedBytes / (S::head_dim * sizeof(Code)));              // rows
    constexpr int kSwing = 2 * S::kChunk * sizeof(Code) / 32;
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const auto staged = [&](int row, int piece) {
      return reinterpret_cast<uint4*>(rows) + row % kAtOnce * kPieces + (piece ^ piece >> 3 ^ row % 2 * kSwing);
    };
#pragma unroll
    for (int r = 0; r < 2; r++) {
#pragma unroll
      for (int first = 0; first < 8; first += kAtOnce) {
        __syncwarp();
        if (g / kAtOnce == first / kAtOnce) {
#pragma unroll
          for (int part = 0; part < kEach * 2; part++) {
            const int chunk = part / 2 * 8 + 2 * t + part % 2;
#pragma unroll
            for (int i = 0; i < S::kChunk; i += kNumbers) {
              union {
                Code codes[kNumbers];
                uint4 piece;
              } x;
#pragma unroll
              for (int k = 0; k < kNumbers; k++) {
                x.codes[k] = Codes<format>::encode(o_[((i + k) * kEach + part / 2) * 4 + 2 * r + part % 2] * gains[r]);
              }
              *staged(g, (chunk * S::kChunk + i) / kNumbers) = x.piece;
            }
          }
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < kAtOnce * kPieces / 32; i++) {
          const int at = i * 32 + lane, row = first + at / kPieces, piece = at % kPieces;
          const int64_t out = place_of(first_row_ + 8 * r + row);
          if (out >= 0) *reinterpret_cast<uint4*>(static_cast<Code*>(output_.rows) + out + piece * kNumbers) = *staged(row, piece);
        }
      }
    }
  }

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
    attention_prefill_kernel(const PrefillLaunch launch, const KvPages pages) {
#ifdef KVANT_WARPGROUP
  using S = Shape<format, head_dim>;
  static_assert(sizeof(Memory<S>) + 1024 <= 227 * 1024);
  extern __shared__ uint8_t unaligned[];
  auto& memory = *reinterpret_cast<Memory<S>*>(unaligned + (1024 - shared_address(unaligned) % 1024) % 1024);
  const uint32_t full = shared_address(memory.full), empty = shared_address(memory.empty);
  const uint32_t queries_full = shared_address(memory.queries_full), queries_empty = shared_address(memory.queries_empty);
  if (threadIdx.x == 0) {
    for (int i = 0; i < S::kStages; i++) init_barrier(full + i * 8, kProducers), init_barrier(empty + i * 8, S::kConsumers * 4);
    for (int i = 0; i < 2; i++) init_barrier(queries_full + i * 8, kQueriers), init_barrier(queries_empty + i * 8, S::kConsumers * 4);
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
  const AttentionArgs& args = launch.args;
  const StepTokens& tokens = launch.tokens;
  Deal deal(tokens, pages.kv_heads, S::kRows / (args.heads / pages.kv_heads));
  int kv_head;
  int64_t at, end;
  Run run;
  if (threadIdx.x < kProducers) {
    take_registers<S::kRegisters, S::kProducerRegisters>();
    while (deal.next(kv_head, at, end)) {
      while (next_run(tokens, pages.window, at, end, run)) {
        Producer<S> producer(run, kv_head, args, pages);
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
    return;
  }
  if (threadIdx.x < S::kFirstConsumer) {
    take_registers<S::kRegisters, S::kQuerierRegisters>();
    const auto leave = [&](const Run& next) {
      if (threadIdx.x == kProducers) memory.work[slot].run = next, memory.work[slot].kv_head = kv_head;
      publish_operands();
      arrive(queries_full + slot * 8);
      advance_slot();
    };
    while (deal.next(kv_head, at, end)) {
      while (next_run(tokens, pages.window, at, end, run)) {
        QueryWriter<S> writer(run, kv_head, launch, pages.kv_heads, memory);
        wait_barrier(queries_empty + slot * 8, slot_phase ^ 1);
        writer.write(memory.queries[slot], memory.work[slot].scales);
        leave(run);
      }
    }
    wait_barrier(queries_empty + slot * 8, slot_phase ^ 1);
    run.tokens = 0;
    leave(run);
    return;
  }

  take_registers<S::kRegisters, S::kConsumerRegisters>();
  uint8_t* const own_queries = memory.queries[0] + (threadIdx.x - S::kFirstConsumer) / 128 * S::kKeyBytes;
  const uint32_t stages = shared_address(memory.stages);
  // By one lane for its warp: by each, long prompts over INT8 pages take 6 % longer. (racecheck takes it for that lane alone.)
  const auto release = [&](uint32_t barrier) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) arrive(barrier);
  };
  while (true) {
    wait_barrier(queries_full + slot * 8, slot_phase);
    if (memory.work[slot].run.tokens == 0) return;
    Consumer<S> consumer(memory.work[slot], args, launch.output, pages);
    const uint32_t queries = shared_address(own_queries) + slot * S::kQueryBytes;
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
    warpgroup_begin();
    consumer.start_values(stages + before * S::kStage + S::kKeyBytes);
    warpgroup_commit();
    warpgroup_wait<0>();
    release(empty + before * 8);
    wait_for_warpgroup();  // nobody reads its queries any more
    consumer.write(own_queries + slot * S::kQueryBytes + threadIdx.x % 128 / 32 * kStagedBytes);
    release(queries_empty + slot * 8);
    advance_slot();
  }
#else
  __trap();  // attention() asks launches_overlap() first
#endif
}

template <Format format, int head_dim>
void launch_prefill_of(const PrefillLaunch& launch_args, const KvPages& pages, Stream stream) {
  using S = Shape<format, head_dim>;
  const auto kernel = attention_prefill_kernel<format, head_dim>;
  constexpr int kBytes = 1024 + sizeof(Memory<S>);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes), "attention's shared memory");
  const int64_t each = S::kRows / (launch_args.args.heads / pages.kv_heads), items = (launch_args.tokens.count + each - 1) / each * pages.kv_heads;
  const dim3 grid(static_cast<unsigned>(std::min<int64_t>(items, launch_args.multiprocessors)));
  launch("attention_prefill", kernel, grid, dim3(S::kThreads), kBytes, stream, launch_args, pages);
}

template <Format format>
void launch_prefill(const PrefillLaunch& launch, const KvPages& pages, Stream stream) {
  switch (pages.head_dim) {
    case 64: return launch_prefill_of<format, 64>(launch, pages, stream);
    case 96: return launch_prefill_of<format, 96>(launch, pages, stream);
    case 128: return launch_prefill_of<format, 128>(launch, pages, stream);
    default: return launch_prefill_of<format, 256>(launch, pages, stream);
  }
}

}  // namespace prefill
}  // namespace kvant::cuda
