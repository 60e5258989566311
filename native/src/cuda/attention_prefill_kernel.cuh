#pragma once
#include "cuda/attention_prefill_products.cuh"
#include "cuda/attention_prefill_queries.cuh"
#include "cuda/attention_prefill_tiles.cuh"
#include "cuda/launch.cuh"

namespace kvant::cuda {
namespace prefill {

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

  const AttentionArgs& args = launch.args;
  const int group = args.heads / pages.kv_heads;
  const uint32_t stages = shared_address(memory.stages);
  Deal deal(launch.tokens, pages, S::kRows / group);
  Ring<S::kStages, S::kStage> ring;
  Ring<2, S::kQueryBytes> slot;
  if (threadIdx.x < kProducers) {
    take_registers<S::kRegisters, S::kProducerRegisters>();
    Producer<S> producer(deal, args, pages);
    Ring<S::kStages, S::kStage> ahead;
    bool held[S::kAhead];
    const auto read = [&]<int set>() {
      held[set] = producer.reads();
      if (held[set]) {
        if constexpr (S::kCopies) wait_barrier(empty + ahead.stage * 8, ahead.phase ^ 1);
        producer.template read<set>(stages + ahead.at);
        ahead.advance();
      }
      commit_copies();
    };
    const auto pass = [&]<int set>() {
      if (!held[set]) return false;
      if constexpr (!S::kCopies) wait_barrier(empty + ring.stage * 8, ring.phase ^ 1);
      producer.template write<set>(stages + ring.at, memory.scales[ring.stage]);
      if constexpr (S::kCopies) wait_copies<S::kAhead - 1>();
      publish_operands();
      arrive(full + ring.stage * 8);
      ring.advance();
      read.template operator()<set>();
      return true;
    };
    read.template operator()<0>();
    if constexpr (S::kAhead > 1) read.template operator()<1>();
    while (pass.template operator()<0>()) {
      if constexpr (S::kAhead > 1) {
        if (!pass.template operator()<1>()) return;
      }
    }
    return;
  }
  if (threadIdx.x < S::kFirstConsumer) {
    take_registers<S::kRegisters, S::kQuerierRegisters>();
    Run run = {};
    int kv_head = 0;
    const auto leave = [&] {
      if (threadIdx.x == kProducers) memory.work[slot.stage].run = run, memory.work[slot.stage].kv_head = kv_head;
      publish_operands();
      arrive(queries_full + slot.stage * 8);
      slot.advance();
    };
    while (deal.next(run, kv_head)) {
      QueryWriter<S> writer(run, kv_head, launch, pages.kv_heads, memory);
      wait_barrier(queries_empty + slot.stage * 8, slot.phase ^ 1);
      writer.write(memory.queries[slot.stage], memory.work[slot.stage].scales);
      leave();
    }
    wait_barrier(queries_empty + slot.stage * 8, slot.phase ^ 1);
    run.tokens = 0;
    leave();
    return;
  }

  take_registers<S::kRegisters, S::kConsumerRegisters>();
  const int warpgroup = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x - S::kFirstConsumer) / 128, 0);
  uint8_t* const own_queries = memory.queries[0] + warpgroup * S::kKeyBytes;
  const uint64_t all_queries = swizzled_operand(shared_address(own_queries)), all_keys = swizzled_operand(stages);
  const uint64_t all_values = transposed_operand(stages + S::kKeyBytes, kBlockBytes);
  // By one lane for its warp: by each, long prompts over INT8 pages take 6 % longer. (racecheck takes it for that lane alone.)
  const auto release = [&](uint32_t barrier) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) arrive(barrier);
  };
  while (true) {
    wait_barrier(queries_full + slot.stage * 8, slot.phase);
    if (memory.work[slot.stage].run.tokens == 0) return;
    Consumer<S> consumer(memory.work[slot.stage], args, launch.output, pages);
    const uint64_t queries = swizzled_operand_at(all_queries, slot.at);
    const int first_tile = consumer.run().first_tile, end_tile = consumer.run().end_tile;
    wait_barrier(full + ring.stage * 8, ring.phase);
    consumer.take_key_scales(memory.scales[ring.stage]);
    warpgroup_begin();
    consumer.start_scores(queries, swizzled_operand_at(all_keys, ring.at));
    warpgroup_commit();
    warpgroup_wait<0>();
    consumer.weigh(first_tile, memory.scales[ring.stage]);
    consumer.take_weights();
    int before = ring.stage;
    uint32_t values = ring.at;
    ring.advance();
    for (int tile = first_tile + 1; tile < end_tile; tile++) {
      wait_barrier(full + ring.stage * 8, ring.phase);
      consumer.take_key_scales(memory.scales[ring.stage]);
      warpgroup_begin();
      consumer.start_scores(queries, swizzled_operand_at(all_keys, ring.at));
      warpgroup_commit();
      consumer.start_values(swizzled_operand_at(all_values, values));
      warpgroup_commit();
      warpgroup_wait<1>();
      consumer.weigh(tile, memory.scales[ring.stage]);
      warpgroup_wait<0>();
      release(empty + before * 8);
      consumer.take_weights();
      before = ring.stage, values = ring.at;
      ring.advance();
    }
    warpgroup_begin();
    consumer.start_values(swizzled_operand_at(all_values, values));
    warpgroup_commit();
    warpgroup_wait<0>();
    release(empty + before * 8);
    wait_for_warpgroup();  // nobody reads its queries any more
    consumer.write(own_queries + slot.at + threadIdx.x % 128 / 32 * consumer.kStagedBytes);
    release(queries_empty + slot.stage * 8);
    slot.advance();
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
