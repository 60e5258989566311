// Queries and keys of INT8 pages as integers, for one block of 16 positions of one KV head.
//   q . k = q_scale * k_scale * sum over d of q_code * k_code       the sum is exact in 32 bits up to 65,000 dims
// A query is quantized once per token and head: AbsMax, symmetric, +-127, as INT8 pages are; that is part of what INT8 pages
// mean and the same in every tier. Exact sums allow any schedule: keys are always transposed, so that lanes are positions.
//   keys [width / 4, 16] lanes of four codes      queries [rows, width / 4] fours of codes      logits [rows, stride]
// Per row and block: 32 * head_dim operations on bytes.
#ifndef KVANT_TIER
#error "define KVANT_TIER and include the tier's vec header first"
#endif

namespace kvant::KVANT_TIER {
namespace {

// Quantizes one query to [width / 4] codes, zeros behind head_dim; returns its scale and where its sums start.
KVANT_INLINE float quantize_query(const float* q, int head_dim, int64_t width, QueryCodes* codes, int32_t* start) {
  const float scale = absmax(q, head_dim) / max_value(Format::int8);
  int32_t total = 0;
  for (int64_t d = 0; d < width; d += kLanes) {
    uint8_t sixteen[kLanes];
    const Vec x = load_upto(q + d, head_dim - d);
    Codes<Format::int8>::encode(sixteen, scale == 0 ? splat(0.0f) : x / splat(scale));
    for (int i = 0; i < kLanes; i += 4) codes[(d + i) / 4] = query_codes(sixteen + i);
    for (uint8_t code : sixteen) total += static_cast<int8_t>(code);
  }
  *start = -kKeyOffset * total;
  return scale;
}

// Sixteen lanes of four codes, of which `count` < 64 exist; zeros behind them.
KVANT_INLINE Vec load_code_lanes(const uint8_t* codes, int64_t count) {
  uint8_t padded[4 * kLanes] = {};
  std::memcpy(padded, codes, static_cast<size_t>(count));
  return floats_of(load_lanes(padded));
}

// [16, head_dim] codes to [width / 4, 16] lanes of four; calls between(d) after the loads from dim d on.
template <typename Between>
KVANT_INLINE void transpose_codes(const uint8_t* k, int head_dim, int64_t width, float* keys, const Between& between) {
  for (int64_t d = 0; d < head_dim; d += 4 * kLanes) {
    Vec tile[kBlock];
    if (head_dim - d >= 4 * kLanes) {
#pragma GCC unroll 16
      for (int j = 0; j < kBlock; j++) tile[j] = floats_of(load_lanes(k + static_cast<int64_t>(j) * head_dim + d));
    } else {
      for (int j = 0; j < kBlock; j++) tile[j] = load_code_lanes(k + static_cast<int64_t>(j) * head_dim + d, head_dim - d);
    }
    between(d);
    transpose(tile);
    const int64_t quads = width - d < 4 * kLanes ? (width - d) / 4 : kLanes;
    if (quads == kLanes) {
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) store_ints(keys + (d / 4 + i) * kBlock, dot_operand(bits_of(tile[i])));
    } else {
      for (int64_t i = 0; i < quads; i++) store_ints(keys + (d / 4 + i) * kBlock, dot_operand(bits_of(tile[i])));
    }
  }
}

// logits[r] = sum of q_code * k_code. Short runs of rows get several sums each, so that products overlap.
template <int rows>
KVANT_INLINE void dot_code_rows(const float* keys, int64_t quads, const QueryCodes* q, const int32_t* starts, float* logits,
                                int64_t stride) {
  constexpr int chains = rows * 4 <= kRowBlock ? 4 : rows * 2 <= kRowBlock ? 2 : 1;
  Ints sums[rows][chains];
  for (int r = 0; r < rows; r++) {
    sums[r][0] = splat_int(static_cast<uint32_t>(starts[r]));
    for (int c = 1; c < chains; c++) sums[r][c] = splat_int(0);
  }
  for (int64_t i = 0; i < quads; i += chains) {  // width is a multiple of 16: quads of four
    for (int c = 0; c < chains; c++) {
      const Ints key = load_ints(keys + (i + c) * kBlock);
      for (int r = 0; r < rows; r++) sums[r][c] = dot_codes(key, q[r * quads + i + c], sums[r][c]);
    }
  }
  for (int r = 0; r < rows; r++) {
    for (int c = 1; c < chains; c++) sums[r][0] = sums[r][0] + sums[r][c];
    store(logits + r * stride, floats_from(sums[r][0]));
  }
}

}  // namespace
}  // namespace kvant::KVANT_TIER
