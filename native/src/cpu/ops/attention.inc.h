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
// INT8 keys meet a quantized query (attention_codes.inc.h); tiers with byte dot products take INT8 pages through
// attention_fixed_point.inc.h instead. There are two schedules of the same arithmetic: few rows decode straight from the page into the dot products; many rows
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
  float *q, *o;          // [rows, width]; INT8: q holds codes
  float *p, *totals;     // [rows, 16]; p: logits, then weights
  float *tops, *fades;   // [rows + 16], touched a vector at a time
  float* factors;        // [rows] INT8: the queries' scales
  float *keys, *values;  // [width, 16], transposed, and [16, width]
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
  scratch.p = take(rows * kBlock);
  scratch.totals = take(rows * kBlock);
  scratch.tops = take(rows + kLanes);
  scratch.fades = take(rows + kLanes);
  scratch.factors = take(rows);
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

  // What a token sees of `count` positions from `start` on.
  Range seen_by(int token, int start, int count) const {
    const int position = tokens.positions[tile.first_token + token];
    const int first = pages.window > 0 && position >= pages.window ? position - pages.window + 1 : 0;
    const int begin = first - start, end = position + 1 - start;
    return {begin > 0 ? begin : 0, end < count ? end : count};
  }
  // The tokens that see something of those positions, first <= t < last: consecutive, as positions are. Fills `seen`.
  Range tokens_that_see(int start, int count, Range* seen) const {
    Range who = {tile.token_count, 0};
    for (int t = 0; t < tile.token_count; t++) {
      seen[t] = seen_by(t, start, count);
      if (seen[t].begin >= seen[t].end) continue;
      if (who.begin > t) who.begin = t;
      who.end = t + 1;
    }
    return who;
  }

  void run(void* memory) const;
  void run_block(int block, const Ahead& ahead, const Scratch& scratch) const;
  void dot_rows(const Block<format>& stored, int begin, int end, Range any, const Ahead& ahead, const Scratch& scratch) const;
  void softmax_rows(const Block<format>& stored, int first, int last, const Range* seen, const Scratch& scratch) const;
  void add_values(const Block<format>& stored, int first, int last, Range any, const Range* seen, const Scratch& scratch) const;
  void load_queries(const Scratch& scratch) const;
  void write_out(const Scratch& scratch) const;
};

template <Format format>
void TileRun<format>::load_queries(const Scratch& scratch) const {
  for (int t = 0; t < tile.token_count; t++) {
    const float* q = args.q + (static_cast<int64_t>(tile.first_token + t) * args.heads + kv_head * group()) * head_dim();
    for (int g = 0; g < group(); g++) {
      const int64_t row = static_cast<int64_t>(t) * group() + g;
      const float* head = q + static_cast<int64_t>(g) * head_dim();
      float* to = scratch.q + row * width();
      if constexpr (format == Format::int8) {  // codes as floats; a vector of them is read before its place is written
        uint8_t* codes = reinterpret_cast<uint8_t*>(to) + 3 * width();
        scratch.factors[row] = quantize_query(head, head_dim(), width(), codes);
        for (int64_t d = 0; d < width(); d += kLanes) store(to + d, load_int8(codes + d));
      } else {
        for (int64_t d = 0; d < width(); d += kLanes) store(to + d, load_upto(head + d, head_dim() - d));
      }
      for (int64_t d = 0; d < width(); d += kLanes) store(scratch.o + row * width() + d, splat(0.0f));
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
      const float* o = scratch.o + row * width();
      for (int64_t d = 0; d < head_dim(); d += kLanes) {
        store_upto(out + static_cast<int64_t>(g) * head_dim() + d, load(o + d) / total, head_dim() - d);
      }
    }
  }
}

template <Format format>
void TileRun<format>::dot_rows(const Block<format>& stored, int begin, int end, Range any, const Ahead& ahead,
                               const Scratch& scratch) const {
  const int64_t w = width();
  if (end - begin <= kMaxDirectRows) {
    for_row_blocks<kRowBlock>(begin, end, [&](int row, auto rows) {
      dot_direct<format, decltype(rows)::count>(stored.k, head_dim(), scratch.q + row * w, w, any,
                                                row == begin ? ahead : Ahead{}, scratch.p + row * kBlock);
    });
  } else {
    ahead.prefetch(0, kBlock);
    transpose_keys<format>(stored.k, head_dim(), any, scratch.keys);
    for_row_blocks<kSmallRowBlock>(begin, end, [&](int row, auto rows) {
      dot_transposed<decltype(rows)::count>(scratch.keys, w, scratch.q + row * w, scratch.p + row * kBlock);
    });
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
    const Mask visible = lanes_between(seen[t].begin, seen[t].end);
    for (int g = 0; g < group(); g++, row++) {
      Vec logits = load(scratch.p + row * kBlock) * k_factor;
      if constexpr (format == Format::int8) logits = logits * splat(scratch.factors[row]);
      store(scratch.p + row * kBlock, select(visible, logits, splat(-__builtin_inff())));
    }
  }
  for (int row = first * group(), end = last * group(); row < end; row += kLanes) {
    const int count = end - row < kLanes ? end - row : kLanes;
    softmax_block(count, v_factor, scratch.p + row * kBlock, scratch.tops + row, scratch.fades + row,
                  scratch.totals + row * kBlock);
  }
}

template <Format format>
void TileRun<format>::add_values(const Block<format>& stored, int first, int last, Range any, const Range* seen,
                                 const Scratch& scratch) const {
  const int64_t w = width();
  const int begin = first * group(), end = last * group();
  const bool direct = end - begin <= kMaxDirectRows;
  if (!direct) decode_values<format>(stored.v, head_dim(), any, w, scratch.values);
  for (int t = first; t < last;) {  // tokens that see the same part of the block go together
    int stop = t + 1;
    while (stop < last && seen[stop].begin == seen[t].begin && seen[stop].end == seen[t].end) stop++;
    for_row_blocks<kRowBlock>(t * group(), stop * group(), [&](int row, auto rows) {
      constexpr int count = decltype(rows)::count;
      const float *p = scratch.p + row * kBlock, *fades = scratch.fades + row;
      float* o = scratch.o + row * w;
      if (direct) {
        add_rows<format, count>(stored.v, head_dim(), head_dim(), seen[t], p, fades, o, w);
      } else {
        add_rows<Format::fp32, count>(scratch.values, w, static_cast<int>(w), seen[t], p, fades, o, w);
      }
    });
    t = stop;
  }
}

template <Format format>
void TileRun<format>::run_block(int block, const Ahead& ahead, const Scratch& scratch) const {
  Range seen[kAttentionTileTokens];
  const auto [first, last] = tokens_that_see(block * kBlock, kBlock, seen);
  const Range any = {seen[first].begin, seen[last - 1].end};
  const Block<format> stored = block_at(block);
  dot_rows(stored, first * group(), last * group(), any, ahead, scratch);
  softmax_rows(stored, first, last, seen, scratch);
  add_values(stored, first, last, any, seen, scratch);
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

}  // namespace
}  // namespace kvant::KVANT_TIER
