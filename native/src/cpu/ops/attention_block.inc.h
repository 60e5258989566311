// The parts of attention that work on one block of 16 positions of one KV head: dot products in two schedules, the step of
// the online softmax, and the weighted sum of values. attention.inc.h says how they come together.
//   q, o [rows, width], width = head_dim rounded up to whole vectors, zeros behind head_dim
//   logits, p, totals [rows, 16]; k, v [16, head_dim] codes; keys [width, 16] and values [16, width] float32
// Per row and block: 64 * head_dim operations; direct schedules read the block's codes once per kRowBlock rows.
#ifndef KVANT_TIER
#error "define KVANT_TIER and include the tier's vec header first"
#endif

namespace kvant::KVANT_TIER {
namespace {

constexpr int kBlock = 16;
static_assert(kBlock == kLanes, "a block's logits fill one vector");
// Rows beyond four share the registers with half as many keys or values.
constexpr int kSmallRowBlock = kRowBlock < 4 ? kRowBlock : 4;
template <int rows>
constexpr int keys_of = rows > 4 ? (kKeyBlock + 1) / 2 : kKeyBlock;
template <int rows>
constexpr int values_of = rows > 4 ? (kValueBlock + 1) / 2 : kValueBlock;

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

// The codes and scales of a block to come; null addresses ask for nothing.
// Inlined by force: GCC takes a function that only prefetches for one without effect and drops calls to it.
struct Ahead {
  const char *k, *v, *k_scales, *v_scales;
  int64_t token_bytes;

  // A share of the lines: those of `count` positions from `first` on.
  KVANT_INLINE void prefetch(int first, int count) const {
    if (k == nullptr) return;
    for (int64_t i = first * token_bytes; i < (first + count) * token_bytes; i += 64) {
      __builtin_prefetch(k + i);
      __builtin_prefetch(v + i);
    }
    if (first == 0 && k_scales != nullptr) {
      __builtin_prefetch(k_scales);
      __builtin_prefetch(v_scales);
    }
  }
};

// partial[r][j] = the lanes of q[r] . k[j] for `keys` consecutive positions.
template <Format format, int rows, int keys>
KVANT_INLINE void dot_keys(const Code<format>* k, int head_dim, const float* q, int64_t width, Vec (*partial)[kBlock], int j) {
  Vec sums[rows][keys];
  for (int r = 0; r < rows; r++) {
    for (int i = 0; i < keys; i++) sums[r][i] = splat(0.0f);
  }
  for (int d = 0; d < head_dim; d += kLanes) {
    Vec key[keys];
    for (int i = 0; i < keys; i++) key[i] = decode_upto<format>(k + static_cast<int64_t>(j + i) * head_dim + d, head_dim - d);
    for (int r = 0; r < rows; r++) {
      const Vec query = load(q + r * width + d);
      for (int i = 0; i < keys; i++) sums[r][i] = fma(key[i], query, sums[r][i]);
    }
  }
  for (int r = 0; r < rows; r++) {
    for (int i = 0; i < keys; i++) partial[r][j + i] = sums[r][i];
  }
}

// logits[r] = q[r] . k[j] for j in `seen`, 0 elsewhere, straight from the codes. On the way, asks for the lines of `ahead`,
// a later block, a few at a time: a burst would fill the queue of outstanding misses and stall the loads of this block.
template <Format format, int rows>
void dot_direct(const Code<format>* k, int head_dim, const float* q, int64_t width, Range seen, Ahead ahead, float* logits) {
  constexpr int keys = keys_of<rows>;
  Vec partial[rows][kBlock];
  for (int j = 0; j < kBlock; j += keys) {
    ahead.prefetch(j, keys);
    if (j >= seen.begin && j + keys <= seen.end) {
      dot_keys<format, rows, keys>(k, head_dim, q, width, partial, j);
      continue;
    }
    for (int i = j; i < j + keys; i++) {
      if (i >= seen.begin && i < seen.end) {
        dot_keys<format, rows, 1>(k, head_dim, q, width, partial, i);
      } else {
        for (int r = 0; r < rows; r++) partial[r][i] = splat(0.0f);
      }
    }
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

// Decodes a block of values to [16, width]; positions outside `seen` are left alone.
template <Format format>
KVANT_INLINE void decode_values(const Code<format>* v, int head_dim, Range seen, int64_t width, float* values) {
  for (int j = seen.begin; j < seen.end; j++) {
    for (int d = 0; d < head_dim; d += kLanes) {
      store(values + j * width + d, decode_upto<format>(v + static_cast<int64_t>(j) * head_dim + d, head_dim - d));
    }
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

// The running maximum of up to 16 rows, a lane each: raises tops, leaves what earlier sums fade by, returns the new tops.
// Whole vectors, because a masked store is not forwarded to the loads after it; rows behind `count` keep their tops.
KVANT_INLINE Vec raise_tops(int count, Vec highest, float* tops, float* fades) {
  const Vec before = load(tops), now = select(before < highest, highest, before);
  store(tops, select(lanes_between(0, count), now, before));
  store(fades, exp(before - now));
  return now;
}

// p * v_factor, but 0 where p is: scales of positions not seen may be anything.
KVANT_INLINE Vec weights_of(Vec p, Vec v_factor) { return select(splat(0.0f) < p, p * v_factor, splat(0.0f)); }

// The online softmax of up to 16 rows over a block: logits [count, 16], -inf where nothing is seen, become weights.
KVANT_INLINE void softmax_block(int count, Vec v_factor, float* logits, float* tops, float* fades, float* totals) {
  float now[kLanes];
  store(now, raise_tops(count, row_maxima(logits, count), tops, fades));
  for (int r = 0; r < count; r++) {
    const Vec p = exp(load(logits + r * kBlock) - splat(now[r]));
    store(totals + r * kBlock, fma(load(totals + r * kBlock), splat(fades[r]), p));
    store(logits + r * kBlock, weights_of(p, v_factor));
  }
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
  constexpr int vectors = values_of<rows>;
  int d = 0;
  for (; d + vectors * kLanes <= head_dim; d += vectors * kLanes) {
    add_values<format, rows, vectors>(v, stride, d, head_dim - d, seen, p, fades, o, width);
  }
  for (; d < head_dim; d += kLanes) add_values<format, rows, 1>(v, stride, d, head_dim - d, seen, p, fades, o, width);
}

}  // namespace
}  // namespace kvant::KVANT_TIER
