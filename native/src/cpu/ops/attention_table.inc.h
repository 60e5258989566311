// The op of a tier: picks the loop for the pages' format.
#ifndef KVANT_TIER
#error "define KVANT_TIER and include the tier's vec header first"
#endif

namespace kvant::KVANT_TIER {
namespace {

template <typename Dots>
void attend_int8(const TileRun<Format::int8>& run, void* scratch) {
  if constexpr (Dots::present) {
    SpanRun<Dots>{run}.run(scratch);
  } else {
    run.run(scratch);
  }
}

void attention(const AttentionArgs& args, const StepTokens& tokens, const KvPages& pages, const AttentionTile& tile, int kv_head,
               void* scratch) {
  switch (pages.format) {
    case Format::bf16: return TileRun<Format::bf16>{args, tokens, pages, tile, kv_head}.run(scratch);
    case Format::fp16: return TileRun<Format::fp16>{args, tokens, pages, tile, kv_head}.run(scratch);
    case Format::int8: return attend_int8<ByteDots>({args, tokens, pages, tile, kv_head}, scratch);
    case Format::e4m3: return TileRun<Format::e4m3>{args, tokens, pages, tile, kv_head}.run(scratch);
    case Format::e5m2: return TileRun<Format::e5m2>{args, tokens, pages, tile, kv_head}.run(scratch);
    default: return TileRun<Format::fp32>{args, tokens, pages, tile, kv_head}.run(scratch);
  }
}

}  // namespace
}  // namespace kvant::KVANT_TIER
