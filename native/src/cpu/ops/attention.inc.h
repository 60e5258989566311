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

constexpr int kBlock = 16;
static_assert(kBlock == kLanes, "a block's logits fill one vector");
constexpr int kMaxDirectRows = 8;
constexpr int kPrefetchBlocks = 2;

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

// Sixteen stored positions of one KV head.
template <Format format>
struct Block {
  const Code<format>*k, *v;         // [16, head_dim]
  const float *k_scales, *v_scales;  // [16]
};

// Positions of a block, relative to its start.
struct Range {
  int begin, end;
};

// logits[r] = q[r] . k[j] for j in `seen`, 0 elsewhere, straight from the codes.
template <Format format, int rows>
KVANT_INLINE void dot_direct(const Code<format>* k, int head_dim, const float* q, int64_t width, Range seen, float* logits) {
  Vec partial[rows][kBlock];
  for (int j = 0; j < kBlock; j++) {
    Vec sums[rows];
    for (int r = 0; r < rows; r++) sums[r] = splat(0.0f);
    if (j >= seen.begin && j < seen.end) {
      const Code<format>* key = k + static_cast<int64_t>(j) * head_dim;
      int d = 0;
      for (; d + kLanes <= head_dim; d += kLanes) {
        const Vec values = Codes<format>::decode(key + d);
        for (int r = 0; r < rows; r++) sums[r] = fma(values, load(q + r * width + d), sums[r]);
      }
      if (d < head_dim) {
        const Vec values = decode_upto<format>(key + d, head_dim - d);
        for (int r = 0; r < rows; r++) sums[r] = fma(values, load(q + r * width + d), sums[r]);
      }
    }
    for (int r = 0; r < rows; r++) partial[r][j] = sums[r];
  }
  for (int r = 0; r < rows; r++) store(logits + r * kBlock, row_sums(partial[r]));
}

// Decodes a block of keys to [width, 16]; positions outside `seen` become 0.
template <Format format>
KVANT_INLINE void transpose_keys(const Code<format>* k, int head_dim, Range seen, float* keys) {
  for (int d = 0; d < head_dim; d += kLanes) {
    Vec tile[kBlock];
    for (int j = 0; j < kBlock; j++) {
      const bool present = j >= seen.begin && j < seen.end;
      tile[j] = present ? decode_upto<format>(k + static_cast<int64_t>(j) * head_dim + d, head_dim - d) : splat(0.0f);
    }
    transpose(tile);
    for (int j = 0; j < kLanes; j++) store(keys + static_cast<int64_t>(d + j) * kBlock, tile[j]);
  }
}

// The part of the lane tree under lane `lane`: sums over d = lane, lane + step, ... grouped as row_sums groups them.
template <int rows, int lane, int step>
KVANT_INLINE void dot_lanes(const float* keys, int64_t width, const float* q, Vec* sums) {
  if constexpr (step == kLanes) {
    for (int r = 0; r < rows; r++) sums[r] = splat(0.0f);
    for (int64_t d = lane; d < width; d += kLanes) {
      const Vec key = load(keys + d * kBlock);
      for (int r = 0; r < rows; r++) sums[r] = fma(key, splat(q[r * width + d]), sums[r]);
    }
  } else {
    Vec other[rows];
    dot_lanes<rows, lane, 2 * step>(keys, width, q, sums);
    dot_lanes<rows, lane + step, 2 * step>(keys, width, q, other);
    for (int r = 0; r < rows; r++) sums[r] = sums[r] + other[r];
  }
}

template <int rows>
KVANT_INLINE void dot_transposed(const float* keys, int64_t width, const float* q, float* logits) {
  Vec sums[rows];
  dot_lanes<rows, 0, 1>(keys, width, q, sums);
  for (int r = 0; r < rows; r++) store(logits + r * kBlock, sums[r]);
}

// One row's step of the online softmax over a block; leaves p * v_scale, 0 where nothing is seen.
KVANT_INLINE void softmax_block(Vec k_factor, Vec v_factor, Range seen, const float* logits, float* top, float* fade,
                                float* totals, float* p) {
  const Mask visible = lanes_between(seen.begin, seen.end);
  const Vec values = select(visible, load(logits) * k_factor, splat(-__builtin_inff()));
  const float highest = largest(values);
  const float before = *top, now = highest > before ? highest : before;
  *fade = before == now ? 1.0f : first_lane(exp(splat(before - now)));
  *top = now;
  const Vec weights = exp(values - splat(now));
  store(totals, fma(load(totals), splat(*fade), weights));
  store(p, select(visible, weights * v_factor, splat(0.0f)));
}

// o[r] = o[r] * fade[r] + sum over j in `seen` of p[r, j] * v[j], for `vectors` vectors of head_dim from d on.
template <Format format, int rows, int vectors>
KVANT_INLINE void add_values(const Code<format>* v, int64_t stride, int64_t d, int64_t count, Range seen, const float* p,
                             const float* fades, float* o, int64_t width) {
  Vec sums[rows][vectors];
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < vectors; c++) sums[r][c] = load(o + r * width + d + c * kLanes) * splat(fades[r]);
  }
  for (int j = seen.begin; j < seen.end; j++) {
    Vec values[vectors];
    for (int c = 0; c < vectors; c++) {
      values[c] = vectors > 1 ? Codes<format>::decode(v + j * stride + d + c * kLanes)
                              : decode_upto<format>(v + j * stride + d, count);
    }
    for (int r = 0; r < rows; r++) {
      const Vec weight = splat(p[r * kBlock + j]);
      for (int c = 0; c < vectors; c++) sums[r][c] = fma(weight, values[c], sums[r][c]);
    }
  }
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < vectors; c++) store(o + r * width + d + c * kLanes, sums[r][c]);
  }
}

template <Format format, int rows>
void add_rows(const Code<format>* v, int64_t stride, int head_dim, Range seen, const float* p, const float* fades, float* o,
              int64_t width) {
  int d = 0;
  for (; d + kValueBlock * kLanes <= head_dim; d += kValueBlock * kLanes) {
    add_values<format, rows, kValueBlock>(v, stride, d, head_dim - d, seen, p, fades, o, width);
  }
  for (; d < head_dim; d += kLanes) add_values<format, rows, 1>(v, stride, d, head_dim - d, seen, p, fades, o, width);
}

template <Format format, int rows>
void dot_rows(const Code<format>* k, int head_dim, const float* q, int64_t width, Range seen, float* logits) {
  dot_direct<format, rows>(k, head_dim, q, width, seen, logits);
}

// Calls body with std::integral_constant-like `Rows<n>` for n = 1 .. kRowBlock.
template <int n>
struct Rows {
  static constexpr int count = n;
};
template <typename Body>
KVANT_INLINE void with_rows(int count, const Body& body) {
  static_assert(kRowBlock <= 4);
  if constexpr (kRowBlock >= 4) {
    if (count == 4) return body(Rows<4>());
  }
  if constexpr (kRowBlock >= 3) {
    if (count == 3) return body(Rows<3>());
  }
  if constexpr (kRowBlock >= 2) {
    if (count == 2) return body(Rows<2>());
  }
  body(Rows<1>());
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

  // Inlined by force: GCC takes a function that only prefetches for one without effect and drops calls to it.
  KVANT_INLINE void prefetch_block(int block) const {
    const Block<format> at = block_at(block);
    const int64_t bytes = static_cast<int64_t>(kBlock) * pages.head_dim * static_cast<int64_t>(sizeof(Code<format>));
    for (int64_t i = 0; i < bytes; i += 64) {
      __builtin_prefetch(reinterpret_cast<const char*>(at.k) + i);
      __builtin_prefetch(reinterpret_cast<const char*>(at.v) + i);
    }
    if (sizeof(Code<format>) == 1 && pages.k_static == nullptr) {
      __builtin_prefetch(at.k_scales);
      __builtin_prefetch(at.v_scales);
    }
  }

  // What a token sees of a block.
  Range seen_by(int token, int block) const {
    const int position = tokens.positions[tile.first_token + token];
    const int first = pages.window > 0 && position >= pages.window ? position - pages.window + 1 : 0;
    const int begin = first - block * kBlock, end = position + 1 - block * kBlock;
    return {begin > 0 ? begin : 0, end < kBlock ? end : kBlock};
  }

  void run(void* memory) const;
  void run_block(int block, const Scratch& scratch) const;
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
void TileRun<format>::run_block(int block, const Scratch& scratch) const {
  // Positions are consecutive, so the tokens that see the block are consecutive too.
  int first = 0, last = tile.token_count;
  while (seen_by(first, block).begin >= kBlock || seen_by(first, block).end <= 0) first++;
  while (seen_by(last - 1, block).begin >= kBlock || seen_by(last - 1, block).end <= 0) last--;
  const Range any = {seen_by(first, block).begin, seen_by(last - 1, block).end};
  const int row_begin = first * group(), row_end = last * group();
  const Block<format> stored = block_at(block);
  const int64_t w = width();

  const bool direct = row_end - row_begin <= kMaxDirectRows;
  if (!direct) transpose_keys<format>(stored.k, head_dim(), any, scratch.keys);
  for (int row = row_begin; row < row_end; row += kRowBlock) {
    with_rows(row_end - row < kRowBlock ? row_end - row : kRowBlock, [&](auto rows) {
      constexpr int count = decltype(rows)::count;
      const float* q = scratch.q + row * w;
      float* logits = scratch.logits + row * kBlock;
      if (direct) {
        dot_rows<format, count>(stored.k, head_dim(), q, w, any, logits);
      } else {
        dot_transposed<count>(scratch.keys, w, q, logits);
      }
    });
  }

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
  for (int row = row_begin; row < row_end; row++) {
    softmax_block(k_factor, v_factor, seen_by(row / group(), block), scratch.logits + row * kBlock, scratch.tops + row,
                  scratch.fades + row, scratch.totals + row * kBlock, scratch.p + row * kBlock);
  }

  if (!direct) {
    for (int j = any.begin; j < any.end; j++) {
      for (int d = 0; d < head_dim(); d += kLanes) {
        const Code<format>* from = stored.v + static_cast<int64_t>(j) * head_dim() + d;
        store(scratch.values + j * w + d, decode_upto<format>(from, head_dim() - d));
      }
    }
  }
  for (int row = row_begin; row < row_end;) {
    const Range seen = seen_by(row / group(), block);
    int count = 1;
    while (count < kRowBlock && row + count < row_end) {
      const Range next = seen_by((row + count) / group(), block);
      if (next.begin != seen.begin || next.end != seen.end) break;
      count++;
    }
    with_rows(count, [&](auto rows) {
      constexpr int n = decltype(rows)::count;
      const float *p = scratch.p + row * kBlock, *fades = scratch.fades + row;
      float* o = scratch.o + row * w;
      if (direct) {
        add_rows<format, n>(stored.v, head_dim(), head_dim(), seen, p, fades, o, w);
      } else {
        add_rows<Format::fp32, n>(scratch.values, w, static_cast<int>(w), seen, p, fades, o, w);
      }
    });
    row += count;
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
    if (block + kPrefetchBlocks <= last_block) prefetch_block(block + kPrefetchBlocks);
    run_block(block, scratch);
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
