// out[t, h] = sum_j softmax_j(scale * q[t, h] . k[j]) v[j]   over positions j = max(0, p - window + 1) .. p of the token's row
// One call: one tile (up to 8 consecutive tokens of a row) and one KV head with all query heads that share it. Rows of
// queries are numbered token * group + head of the group, q [rows, head_dim]; keys and values come from the stored pages.
//
// Pages are read once per tile, in blocks of 16 positions counted from 0. Per row and block, in this order:
//   logits = (q . k) * (scale * k_scale)           dot product: 16 lanes over head_dim, then the tree of row_sums
//   top' = max(top, max(logits)), fade = exp(top - top'), p = exp(logits - top')
//   total = total * fade + p                       16 lanes, summed at the end
//   o = o * fade + sum over the block's positions in order of (p * v_scale) * v
// A row skips blocks in which it sees nothing, and inside a block values of positions it does not see are never touched:
// a result has the same bits whatever tile, chunk or page holds it, and codes that were never written cannot leak in.
// There are two schedules of the same arithmetic: few rows decode straight from the page into the dot products; many rows
// decode the block once to float32, keys transposed, so that lanes are positions and the lane tree costs no shuffles.
// Decode is memory bound: 2 * head_dim codes (and two scales) per position; operations: 4 * head_dim per row and position.
#ifndef KVANT_TIER
#error "define KVANT_TIER and include the tier's vec header first"
#endif

namespace kvant::KVANT_TIER {
namespace {

// Up to this many rows, decoding codes once per block of rows costs less than transposing keys.
constexpr int kMaxDirectRows = 8;
// Two or three blocks of work take about as long as a miss to main memory with its page walk.
constexpr int kPrefetchBlocks = 3;

// Scratch of one call, each part 64-byte aligned. `width` is head_dim rounded up to whole vectors.
struct Scratch {
  float *q, *o;                // [rows, width]
  float *logits, *p, *totals;  // [rows, 16]
  float *tops, *fades;         // [rows]
  float *keys;                 // [width, 16], transposed
  float *values;               // [16, width]
};

KVANT_INLINE Scratch scratch_of(void* memory, int64_t rows, int64_t width) {
  float* next = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory) + 63) & ~static_cast<uintptr_t>(63));
  const auto take = [&next](int64_t count) {
    float* part = next;
    next += (count + 15) & ~static_cast<int64_t>(15);
    return part;
  };
  Scratch scratch;
  scratch.q = take(rows * width);
  scratch.o = take(rows * width);
  scratch.logits = take(rows * kBlock);
  scratch.p = take(rows * kBlock);
  scratch.totals = take(rows * kBlock);
  scratch.tops = take(rows);
  scratch.fades = take(rows);
  scratch.keys = take(width * kBlock);
  scratch.values = take(width * kBlock);
  return scratch;
}

// Calls body(row, Rows<count>) over [begin, end), so that the number of rows is a constant inside: `most` while they last,
// then up to four.
template <int n>
struct Rows {
  static constexpr int count = n;
};
template <int most, typename Body>
KVANT_INLINE void for_row_blocks(int begin, int end, const Body& body) {
  constexpr int small = most < 4 ? most : 4;
  int row = begin;
  if constexpr (most > small) {
    for (; row + most <= end; row += most) body(row, Rows<most>());
  }
  for (; row + small <= end; row += small) body(row, Rows<small>());
  if constexpr (small > 3) {
    if (end - row == 3) return body(row, Rows<3>());
  }
  if constexpr (small > 2) {
    if (end - row == 2) return body(row, Rows<2>());
  }
  if (end - row == 1) body(row, Rows<1>());
}

template <Format format>
struct TileRun {
  const AttentionArgs& args;
  const StepTokens& tokens;
  const KvPages& pages;
  const AttentionTile& tile;
  int kv_head;

  int head_dim() const { return pages.head_dim; }
  int64_t width() const { return (pages.head_dim + kLanes - 1) / kLanes * kLanes; }
  int group() const { return args.heads / pages.kv_heads; }

  Block<format> block_at(int block) const {
    const int start = block * kBlock;
    const int32_t page = pages.tables[tile.slot * pages.table_stride + start / pages.page_tokens];
    const uint8_t* base = pages.base + page * pages.page_bytes + args.layer * pages.layer_bytes;
    const int64_t index = static_cast<int64_t>(kv_head) * pages.page_tokens + start % pages.page_tokens;
    return {reinterpret_cast<const Code<format>*>(base + pages.k_codes) + index * pages.head_dim,
            reinterpret_cast<const Code<format>*>(base + pages.v_codes) + index * pages.head_dim,
            reinterpret_cast<const float*>(base + pages.k_scales) + index,
            reinterpret_cast<const float*>(base + pages.v_scales) + index};
  }

  Ahead ahead_at(int block) const {
    const Block<format> at = block_at(block);
    const bool scales = sizeof(Code<format>) == 1 && pages.k_static == nullptr;
    return {reinterpret_cast<const char*>(at.k), reinterpret_cast<const char*>(at.v),
            scales ? reinterpret_cast<const char*>(at.k_scales) : nullptr, reinterpret_cast<const char*>(at.v_scales),
            pages.head_dim * static_cast<int64_t>(sizeof(Code<format>))};
  }

  // What a token sees of a block.
  Range seen_by(int token, int block) const {
    const int position = tokens.positions[tile.first_token + token];
    const int first = pages.window > 0 && position >= pages.window ? position - pages.window + 1 : 0;
    const int begin = first - block * kBlock, end = position + 1 - block * kBlock;
    return {begin > 0 ? begin : 0, end < kBlock ? end : kBlock};
  }

  void run(void* memory) const;
  void run_block(int block, const Ahead& ahead, const Scratch& scratch) const;
  void softmax_rows(const Block<format>& stored, int first, int last, const Range* seen, const Scratch& scratch) const;
  void load_queries(const Scratch& scratch) const;
  void write_out(const Scratch& scratch) const;
};

template <Format format>
void TileRun<format>::load_queries(const Scratch& scratch) const {
  for (int t = 0; t < tile.token_count; t++) {
    const float* q = args.q + (static_cast<int64_t>(tile.first_token + t) * args.heads + kv_head * group()) * head_dim();
    for (int g = 0; g < group(); g++) {
      const int64_t row = static_cast<int64_t>(t) * group() + g;
      for (int64_t d = 0; d < width(); d += kLanes) {
        store(scratch.q + row * width() + d, load_upto(q + static_cast<int64_t>(g) * head_dim() + d, head_dim() - d));
        store(scratch.o + row * width() + d, splat(0.0f));
      }
      store(scratch.totals + row * kBlock, splat(0.0f));
      scratch.tops[row] = -__builtin_inff();
    }
  }
}

template <Format format>
void TileRun<format>::write_out(const Scratch& scratch) const {
  for (int t = 0; t < tile.token_count; t++) {
    float* out = args.out + (static_cast<int64_t>(tile.first_token + t) * args.heads + kv_head * group()) * head_dim();
    for (int g = 0; g < group(); g++) {
      const int64_t row = static_cast<int64_t>(t) * group() + g;
      const Vec total = splat(sum(load(scratch.totals + row * kBlock)));
      for (int64_t d = 0; d < head_dim(); d += kLanes) {
        store_upto(out + static_cast<int64_t>(g) * head_dim() + d, load(scratch.o + row * width() + d) / total,
                   head_dim() - d);
      }
    }
  }
}

template <Format format>
void TileRun<format>::softmax_rows(const Block<format>& stored, int first, int last, const Range* seen,
                                   const Scratch& scratch) const {
  Vec k_factor = splat(args.scale), v_factor = splat(1.0f);
  if constexpr (sizeof(Code<format>) == 1) {
    if (pages.k_static != nullptr) {
      const int index = args.layer * pages.kv_heads + kv_head;
      k_factor = splat(args.scale * pages.k_static[index]);
      v_factor = splat(pages.v_static[index]);
    } else {
      k_factor = k_factor * load(stored.k_scales);
      v_factor = load(stored.v_scales);
    }
  }
  for (int t = first, row = first * group(); t < last; t++) {
    for (int g = 0; g < group(); g++, row++) {
      softmax_block(k_factor, v_factor, seen[t], scratch.logits + row * kBlock, scratch.tops + row, scratch.fades + row,
                    scratch.totals + row * kBlock, scratch.p + row * kBlock);
    }
  }
}

template <Format format>
void TileRun<format>::run_block(int block, const Ahead& ahead, const Scratch& scratch) const {
  // Positions are consecutive, so the tokens that see the block are consecutive too.
  Range seen[kAttentionTileTokens];
  int first = tile.token_count, last = 0;
  for (int t = 0; t < tile.token_count; t++) {
    seen[t] = seen_by(t, block);
    if (seen[t].begin >= seen[t].end) continue;
    if (first > t) first = t;
    last = t + 1;
  }
  const Range any = {seen[first].begin, seen[last - 1].end};
  const int row_begin = first * group(), row_end = last * group();
  const Block<format> stored = block_at(block);
  const int64_t w = width();

  const bool direct = row_end - row_begin <= kMaxDirectRows;
  if (!direct) {
    ahead.prefetch(0, kBlock);
    transpose_keys<format>(stored.k, head_dim(), any, scratch.keys);
    decode_values<format>(stored.v, head_dim(), any, w, scratch.values);
  }
  if (direct) {
    for_row_blocks<kRowBlock>(row_begin, row_end, [&](int row, auto rows) {
      dot_direct<format, decltype(rows)::count>(stored.k, head_dim(), scratch.q + row * w, w, any,
                                                row == row_begin ? ahead : Ahead{}, scratch.logits + row * kBlock);
    });
  } else {
    for_row_blocks<kSmallRowBlock>(row_begin, row_end, [&](int row, auto rows) {
      dot_transposed<decltype(rows)::count>(scratch.keys, w, scratch.q + row * w, scratch.logits + row * kBlock);
    });
  }
  softmax_rows(stored, first, last, seen, scratch);
  for (int t = first; t < last;) {  // tokens that see the same part of the block go together
    int end = t + 1;
    while (end < last && seen[end].begin == seen[t].begin && seen[end].end == seen[t].end) end++;
    for_row_blocks<kRowBlock>(t * group(), end * group(), [&](int row, auto rows) {
      constexpr int count = decltype(rows)::count;
      const float *p = scratch.p + row * kBlock, *fades = scratch.fades + row;
      float* o = scratch.o + row * w;
      if (direct) {
        add_rows<format, count>(stored.v, head_dim(), head_dim(), seen[t], p, fades, o, w);
      } else {
        add_rows<Format::fp32, count>(scratch.values, w, static_cast<int>(w), seen[t], p, fades, o, w);
      }
    });
    t = end;
  }
}

template <Format format>
void TileRun<format>::run(void* memory) const {
  const Scratch scratch = scratch_of(memory, static_cast<int64_t>(tile.token_count) * group(), width());
  load_queries(scratch);
  const int first_position = tokens.positions[tile.first_token];
  const int last_block = (first_position + tile.token_count - 1) / kBlock;
  int block = pages.window > 0 && first_position >= pages.window ? (first_position - pages.window + 1) / kBlock : 0;
  for (; block <= last_block; block++) {
    run_block(block, block + kPrefetchBlocks <= last_block ? ahead_at(block + kPrefetchBlocks) : Ahead{}, scratch);
  }
  write_out(scratch);
}

void attention(const AttentionArgs& args, const StepTokens& tokens, const KvPages& pages, const AttentionTile& tile, int kv_head,
               void* scratch) {
  switch (pages.format) {
    case Format::bf16: return TileRun<Format::bf16>{args, tokens, pages, tile, kv_head}.run(scratch);
    case Format::fp16: return TileRun<Format::fp16>{args, tokens, pages, tile, kv_head}.run(scratch);
    case Format::int8: return TileRun<Format::int8>{args, tokens, pages, tile, kv_head}.run(scratch);
    case Format::e4m3: return TileRun<Format::e4m3>{args, tokens, pages, tile, kv_head}.run(scratch);
    case Format::e5m2: return TileRun<Format::e5m2>{args, tokens, pages, tile, kv_head}.run(scratch);
    default: return TileRun<Format::fp32>{args, tokens, pages, tile, kv_head}.run(scratch);
  }
}

}  // namespace
}  // namespace kvant::KVANT_TIER
