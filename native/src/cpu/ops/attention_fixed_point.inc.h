// Attention over INT8 pages for tiers with dot products of unsigned by signed bytes: values are summed in fixed point.
//   v part of a row = step * (sum over j of weight_code[j] * v_code[j])       exact in 32 bits
// Works on spans of 64 positions counted from 0, so that what costs per row (the softmax's maximum, fading the output) comes
// once in four blocks. A row's weights p * v_scale in a span become 16-bit numbers in steps of the largest over 65,535: each is
// off by at most 2^-17 of the largest, 1/500 of what storing values in INT8 costs. They split into two unsigned bytes.
// A row that sees nothing of a span skips it; weights of positions it does not see are 0, and 0 times any code is 0: the bits
// of a result depend neither on tile, chunk and page nor on codes that were never written.
// While keys are read, the span's values are asked for, and the next span's keys while values are: half a span ahead is later
// than a miss takes, and a whole one would not fit the first-level cache.
// Dots, the tier's ByteDots, declares: dot(unsigned bytes, signed bytes, sums), floats_from(sums), splat_four(bytes),
// load_codes, as_key and kKeyOffset (what it adds to keys to make them unsigned), and for values kChunk, interleave, order_dims.
// Operations per row and position: 2 * head_dim on bytes for keys, 4 * head_dim for values.
#ifndef KVANT_TIER
#error "define KVANT_TIER and include the tier's vec header first"
#endif

namespace kvant::KVANT_TIER {
namespace {

constexpr int kSpan = 64;
constexpr int kSpanBlocks = kSpan / kBlock;

// A row's logits, then its weights; then the bytes of the weights: 64 high ones, 64 low ones.
union SpanRow {
  float lanes[kSpan];
  uint8_t bytes[2][kSpan];
};

struct SpanScratch {
  uint8_t* q;                   // [rows, width] codes
  float* o;                     // [rows, o_width], dims as Dots::interleave leaves them
  SpanRow* p;                   // [rows]
  float *totals, *maxima;       // [rows, 16]
  float *tops, *fades, *steps;  // [rows + 16], touched a vector at a time
  float* factors;               // [rows]
  int32_t* starts;              // [rows]
  float* keys;                  // [4, width / 4, 16]
  float* values;                // [o_width / 64, 16 quads of positions, 4, 16]
};

// Turns weights into bytes. `factor` makes the largest 65,535.
KVANT_INLINE void fix_weights(float factor, int begin, int end, SpanRow* row) {
  Ints codes[kSpanBlocks];
  for (int b = begin; b < end; b++) {  // the sum rounds to an integer and leaves it in the low bits
    codes[b] = bits_of(fma(load(row->lanes + b * kBlock), splat(factor), splat(0x1p23f)));
  }
  for (int b = begin; b < end; b++) {
    store_low8(row->bytes[0] + b * kBlock, shift_right<8>(codes[b]));
    store_low8(row->bytes[1] + b * kBlock, codes[b]);
  }
}

// o[r] = o[r] * fade[r] + step[r] * sum over the blocks begin .. end - 1 of weight_code * v_code.
template <typename Dots, int rows>
KVANT_INLINE void add_code_rows(const float* values, int64_t o_width, int begin, int end, const SpanRow* p, const float* steps,
                                const float* fades, float* o) {
  for (int64_t d = 0; d < o_width; d += Dots::kChunk, values += kSpan * kLanes) {
    Ints sums[rows][4];
    for (int r = 0; r < rows; r++) {
      for (int c = 0; c < 4; c++) sums[r][c] = splat_int(0);
    }
    for (int part = 0; part < 2; part++) {  // the high bytes, times 256, then the low ones
      for (int r = 0; r < rows; r++) {
        for (int c = 0; c < 4; c++) sums[r][c] = shift_left<8>(sums[r][c]);
      }
      for (int quad = 4 * begin; quad < 4 * end; quad++) {
        Ints four[4];
        for (int c = 0; c < 4; c++) four[c] = load_ints(values + (4 * quad + c) * kLanes);
        for (int r = 0; r < rows; r++) {
          const Ints weights = Dots::splat_four(p[r].bytes[part] + 4 * quad);
          for (int c = 0; c < 4; c++) sums[r][c] = Dots::dot(weights, four[c], sums[r][c]);
        }
      }
    }
    for (int r = 0; r < rows; r++) {
      const Vec step = splat(steps[r]), fade = splat(fades[r]);
      for (int c = 0; c < 4; c++) {
        float* at = o + r * o_width + d + c * kLanes;
        store(at, fma(Dots::floats_from(sums[r][c]), step, load(at) * fade));
      }
    }
  }
}

template <typename Dots>
struct SpanRun : TileRun<Format::int8> {
  int64_t o_width() const { return (head_dim() + Dots::kChunk - 1) / Dots::kChunk * Dots::kChunk; }

  void run(void* memory) const;
  SpanScratch scratch_of(void* memory) const;
  void load_queries(const SpanScratch& scratch) const;
  void run_span(int span, int last_block, const SpanScratch& scratch) const;
  void softmax_rows(Range who, Range blocks, const Range* seen, const Vec* k_factors, const Vec* v_factors,
                    const SpanScratch& scratch) const;
  void write_out(const SpanScratch& scratch) const;
};

template <typename Dots>
SpanScratch SpanRun<Dots>::scratch_of(void* memory) const {
  const int64_t rows = static_cast<int64_t>(tile.token_count) * group();
  float* next = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory) + 63) & ~static_cast<uintptr_t>(63));
  const auto take = [&next](int64_t count) {
    float* part = next;
    next += (count + 15) & ~static_cast<int64_t>(15);
    return part;
  };
  SpanScratch scratch;
  scratch.q = reinterpret_cast<uint8_t*>(take(rows * width() / 4));
  scratch.o = take(rows * o_width());
  scratch.p = reinterpret_cast<SpanRow*>(take(rows * kSpan));
  scratch.totals = take(rows * kLanes);
  scratch.maxima = take(rows * kLanes);
  scratch.tops = take(rows + kLanes);
  scratch.fades = take(rows + kLanes);
  scratch.steps = take(rows + kLanes);
  scratch.factors = take(rows);
  scratch.starts = reinterpret_cast<int32_t*>(take(rows));
  scratch.keys = take(kSpan * width() / 4);
  scratch.values = take(kSpan * o_width() / 4);
  return scratch;
}

template <typename Dots>
void SpanRun<Dots>::load_queries(const SpanScratch& scratch) const {
  float scale = args.scale;
  if (pages.k_static != nullptr) scale *= pages.k_static[args.layer * pages.kv_heads + kv_head];
  for (int t = 0, row = 0; t < tile.token_count; t++) {
    const float* q = args.q + (static_cast<int64_t>(tile.first_token + t) * args.heads + kv_head * group()) * head_dim();
    for (int g = 0; g < group(); g++, row++) {
      uint8_t* codes = scratch.q + row * width();
      scratch.factors[row] = scale * quantize_query(q + static_cast<int64_t>(g) * head_dim(), head_dim(), width(), codes);
      int32_t total = 0;
      for (int64_t d = 0; d < width(); d++) total += static_cast<int8_t>(codes[d]);
      scratch.starts[row] = -Dots::kKeyOffset * total;
      for (int64_t d = 0; d < o_width(); d += kLanes) store(scratch.o + row * o_width() + d, splat(0.0f));
      store(scratch.totals + row * kLanes, splat(0.0f));
      scratch.tops[row] = -__builtin_inff();
    }
  }
}

// What is one number per row is computed for sixteen rows at once, a lane each.
template <typename Dots>
void SpanRun<Dots>::softmax_rows(Range who, Range blocks, const Range* seen, const Vec* k_factors, const Vec* v_factors,
                                 const SpanScratch& scratch) const {
  const int begin = who.begin * group(), end = who.end * group();
  for (int t = who.begin, row = begin; t < who.end; t++) {
    for (int g = 0; g < group(); g++, row++) {
      const Vec factor = splat(scratch.factors[row]);
      Vec most = splat(-__builtin_inff());
      for (int b = blocks.begin; b < blocks.end; b++) {
        float* lanes = scratch.p[row].lanes + b * kBlock;
        const Mask visible = lanes_between(seen[t].begin - b * kBlock, seen[t].end - b * kBlock);
        const Vec logits = select(visible, load(lanes) * (k_factors[b] * factor), splat(-__builtin_inff()));
        store(lanes, logits);
        most = max(most, logits);
      }
      store(scratch.maxima + row * kLanes, most);
    }
  }
  for (int first = begin; first < end; first += kLanes) {
    const int count = end - first < kLanes ? end - first : kLanes;
    const Vec now = raise_tops(count, row_maxima(scratch.maxima + first * kLanes, count), scratch.tops + first,
                               scratch.fades + first);
    float tops[kLanes], factors[kLanes];
    store(tops, now);
    for (int r = 0; r < count; r++) {
      float *lanes = scratch.p[first + r].lanes, *totals = scratch.totals + (first + r) * kLanes;
      Vec total = load(totals) * splat(scratch.fades[first + r]), most = splat(0.0f);
      for (int b = blocks.begin; b < blocks.end; b++) {
        const Vec p = exp(load(lanes + b * kBlock) - splat(tops[r]));
        total = total + p;
        const Vec weights = weights_of(p, v_factors[b]);
        most = max(weights, most);
        store(lanes + b * kBlock, weights);
      }
      store(totals, total);
      store(scratch.maxima + (first + r) * kLanes, most);
    }
    // The smallest step keeps 65,535 / largest finite.
    const Vec most = max(row_maxima(scratch.maxima + first * kLanes, count), splat(0x1p-110f));
    store(scratch.steps + first, most * splat(1.0f / 65535.0f));
    store(factors, splat(65535.0f) / most);
    for (int r = 0; r < count; r++) fix_weights(factors[r], blocks.begin, blocks.end, scratch.p + first + r);
  }
}

template <typename Dots>
void SpanRun<Dots>::run_span(int span, int last_block, const SpanScratch& scratch) const {
  Range seen[kAttentionTileTokens];
  const Range who = tokens_that_see(span * kSpan, kSpan, seen);
  const Range blocks = {seen[who.begin].begin / kBlock, (seen[who.end - 1].end + kBlock - 1) / kBlock};
  const int begin = who.begin * group(), end = who.end * group();
  const bool token_scales = pages.k_static == nullptr;
  Block<Format::int8> stored[kSpanBlocks];
  Vec k_factors[kSpanBlocks], v_factors[kSpanBlocks];
  for (int b = blocks.begin; b < blocks.end; b++) {
    stored[b] = block_at(span * kSpanBlocks + b);
    const uint8_t* values = stored[b].v;
    float* keys = scratch.keys + b * (width() / 4) * kBlock;
    transpose_codes<Dots>(stored[b].k, head_dim(), width(), keys, [&](int64_t d) {
      for (int64_t i = 0; i < kBlock; i++) __builtin_prefetch(values + d * kBlock + i * 64);
    });
    for_row_blocks<kRowBlock>(begin, end, [&](int row, auto rows) {
      dot_code_rows<Dots, decltype(rows)::count>(keys, width(), scratch.q + row * width(), scratch.starts + row,
                                                 scratch.p[row].lanes + b * kBlock, kSpan);
    });
    const int index = args.layer * pages.kv_heads + kv_head;
    k_factors[b] = token_scales ? load(stored[b].k_scales) : splat(1.0f);  // static: in the queries' factors
    v_factors[b] = token_scales ? load(stored[b].v_scales) : splat(pages.v_static[index]);
  }
  softmax_rows(who, blocks, seen, k_factors, v_factors, scratch);
  for (int b = blocks.begin; b < blocks.end; b++) {
    const int later = (span + 1) * kSpanBlocks + b;
    const Block<Format::int8> next = block_at(later <= last_block ? later : span * kSpanBlocks + b);
    if (token_scales) {
      __builtin_prefetch(next.k_scales);
      __builtin_prefetch(next.v_scales);
    }
    for (int j = 0; j < kBlock; j += 4) {
      for (int64_t d = 0; d < head_dim(); d += Dots::kChunk) {
        const int64_t at = static_cast<int64_t>(j) * head_dim() + d;
        for (int i = 0; i < 4; i++) __builtin_prefetch(next.k + j * head_dim() + d * 4 + i * 64);
        Dots::interleave(stored[b].v + at, head_dim(), head_dim() - d,
                         scratch.values + d * kSpan / 4 + (b * kBlock + j) * kLanes);
      }
    }
  }
  for_row_blocks<kSmallRowBlock>(begin, end, [&](int row, auto rows) {
    add_code_rows<Dots, decltype(rows)::count>(scratch.values, o_width(), blocks.begin, blocks.end, scratch.p + row,
                                               scratch.steps + row, scratch.fades + row, scratch.o + row * o_width());
  });
}

template <typename Dots>
void SpanRun<Dots>::write_out(const SpanScratch& scratch) const {
  for (int t = 0, row = 0; t < tile.token_count; t++) {
    float* out = args.out + (static_cast<int64_t>(tile.first_token + t) * args.heads + kv_head * group()) * head_dim();
    for (int g = 0; g < group(); g++, row++, out += head_dim()) {
      const Vec total = splat(sum(load(scratch.totals + row * kLanes)));
      Dots::order_dims(scratch.o + row * o_width(), o_width(), scratch.values);
      for (int64_t d = 0; d < head_dim(); d += kLanes) {
        store_upto(out + d, load(scratch.values + d) / total, head_dim() - d);
      }
    }
  }
}

template <typename Dots>
void SpanRun<Dots>::run(void* memory) const {
  const SpanScratch scratch = scratch_of(memory);
  load_queries(scratch);
  const int first_position = tokens.positions[tile.first_token], last_position = first_position + tile.token_count - 1;
  int span = pages.window > 0 && first_position >= pages.window ? (first_position - pages.window + 1) / kSpan : 0;
  for (; span <= last_position / kSpan; span++) run_span(span, last_position / kBlock, scratch);
  write_out(scratch);
}

}  // namespace
}  // namespace kvant::KVANT_TIER
