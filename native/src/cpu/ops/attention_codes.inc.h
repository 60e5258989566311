// Queries and keys of INT8 pages.
//   q . k = q_scale * k_scale * sum over d of q_code * k_code
// A query is quantized once per token and head: AbsMax, symmetric, +-127, as INT8 pages are; that is part of what INT8 pages
// mean and the same in every tier. The sum is exact, also in float32 up to 1,032 dims, so every schedule gives the same bits:
// tiers without byte dot products take codes through the float schedules, others through these functions. For one block:
//   keys [width / 4, 16] lanes of four codes      queries [rows, width] codes      logits [rows, stride]
// Per row and block: 32 * head_dim operations on bytes.
#ifndef KVANT_TIER
#error "define KVANT_TIER and include the tier's vec header first"
#endif

namespace kvant::KVANT_TIER {
namespace {

// Quantizes one query to [width] codes, zeros behind head_dim; returns its scale.
KVANT_INLINE float quantize_query(const float* q, int head_dim, int64_t width, uint8_t* codes) {
  const float scale = absmax(q, head_dim) / max_value(Format::int8);
  for (int64_t d = 0; d < width; d += kLanes) {
    const Vec x = load_upto(q + d, head_dim - d);
    Codes<Format::int8>::encode(codes + d, scale == 0 ? splat(0.0f) : x / splat(scale));
  }
  return scale;
}

// [16, head_dim] codes to [width / 4, 16] lanes of four; calls between(d) after the loads from dim d on.
template <typename Dots, typename Between>
KVANT_INLINE void transpose_codes(const uint8_t* k, int head_dim, int64_t width, float* keys, const Between& between) {
  for (int64_t d = 0; d < head_dim; d += 4 * kLanes) {
    Vec tile[kBlock];
#pragma GCC unroll 16
    for (int j = 0; j < kBlock; j++) {
      tile[j] = floats_of(Dots::load_codes(k + static_cast<int64_t>(j) * head_dim + d, head_dim - d));
    }
    between(d);
    transpose(tile);
    const int64_t quads = width - d < 4 * kLanes ? (width - d) / 4 : kLanes;
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i++) {
      if (i < quads) store_ints(keys + (d / 4 + i) * kBlock, Dots::as_key(bits_of(tile[i])));
    }
  }
}

// logits[r] = sum of q_code * k_code. `starts` takes back what the keys' offset adds. Short runs of rows get several sums
// each, so that products overlap.
template <typename Dots, int rows>
KVANT_INLINE void dot_code_rows(const float* keys, int64_t width, const uint8_t* q, const int32_t* starts, float* logits,
                                int64_t stride) {
  constexpr int chains = rows * 4 <= kRowBlock ? 4 : rows * 2 <= kRowBlock ? 2 : 1;
  Ints sums[rows][chains];
  for (int r = 0; r < rows; r++) {
    sums[r][0] = splat_int(static_cast<uint32_t>(starts[r]));
    for (int c = 1; c < chains; c++) sums[r][c] = splat_int(0);
  }
  for (int64_t d = 0; d < width; d += 4 * chains) {  // width is a multiple of 16
    for (int c = 0; c < chains; c++) {
      const Ints key = load_ints(keys + (d / 4 + c) * kBlock);
      for (int r = 0; r < rows; r++) sums[r][c] = Dots::dot(key, Dots::splat_four(q + r * width + d + 4 * c), sums[r][c]);
    }
  }
  for (int r = 0; r < rows; r++) {
    for (int c = 1; c < chains; c++) sums[r][0] = sums[r][0] + sums[r][c];
    store(logits + r * stride, Dots::floats_from(sums[r][0]));
  }
}

}  // namespace
}  // namespace kvant::KVANT_TIER
