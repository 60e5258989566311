// Writes keys and values into pages. x: one KV head of one token, [head_dim].
//   8-bit, token-head scales   scale = absmax(x) / max_value (float32 division), codes = encode(x / scale); 0 where scale is 0
//   8-bit, static scales       codes = encode(x / scale); values with |x / scale| > max_value saturate and are counted
//   16 and 32 bit              codes = encode(x)
// NaN does not count in absmax and infinity counts as the largest float32, as in packages/formats.
// Memory bound: reads 4 * head_dim bytes and writes head_dim codes (and a scale), about 20 operations per value.
#ifndef KVANT_TIER
#error "define KVANT_TIER and include the tier's vec header first"
#endif

namespace kvant::KVANT_TIER {
namespace {

KVANT_INLINE float absmax(const float* x, int64_t count) {
  Vec most = splat(0.0f);
  for (int64_t i = 0; i < count; i += kLanes) most = max(magnitude(load_upto(x + i, count - i)), most);
  const float value = largest(most);
  return value < 0x1.fffffep127f ? value : 0x1.fffffep127f;
}

// Returns the number of values beyond what the scale can hold.
template <Format format>
KVANT_INLINE int64_t encode_scaled(const float* x, int head_dim, float scale, Code<format>* codes) {
  constexpr float largest_code = max_value(format);
  int64_t clipped = 0;
  const Vec divisor = splat(scale), most = splat(largest_code);
  for (int i = 0; i < head_dim; i += kLanes) {
    const Vec quotient = scale == 0 ? splat(0.0f) : load_upto(x + i, head_dim - i) / divisor;
    encode_upto<format>(codes + i, quotient, head_dim - i);
    clipped += count_lanes(most < magnitude(quotient));
  }
  return clipped;
}

// Where one KV head of one token is stored.
struct KvPlace {
  uint8_t* codes;
  float* scale;        // null without token-head scales
  float static_scale;  // 0 without static scales
};

template <Format format>
KVANT_INLINE int64_t store_head(const float* x, int head_dim, const KvPlace& place) {
  Code<format>* codes = reinterpret_cast<Code<format>*>(place.codes);
  if constexpr (sizeof(Code<format>) == 1) {
    constexpr float largest_code = max_value(format);
    if (place.scale == nullptr) return encode_scaled<format>(x, head_dim, place.static_scale, codes);
    *place.scale = absmax(x, head_dim) / largest_code;
    encode_scaled<format>(x, head_dim, *place.scale, codes);
  } else {
    for (int i = 0; i < head_dim; i += kLanes) {
      encode_upto<format>(codes + i, load_upto(x + i, head_dim - i), head_dim - i);
    }
  }
  return 0;
}

// Bytes of one head of one token.
KVANT_INLINE int64_t code_bytes(const KvPages& pages) {
  switch (pages.format) {
    case Format::bf16:
    case Format::fp16: return 2 * static_cast<int64_t>(pages.head_dim);
    case Format::int8:
    case Format::e4m3:
    case Format::e5m2: return pages.head_dim;
    default: return 4 * static_cast<int64_t>(pages.head_dim);
  }
}

// The place of token t in one layer, for KV head 0; the other heads follow at constant strides.
struct KvToken {
  uint8_t *k_codes, *v_codes;
  float *k_scales, *v_scales;
};

KVANT_INLINE KvToken kv_token(const StepTokens& tokens, const KvPages& pages, int layer, int64_t t) {
  const int position = tokens.positions[t];
  const int32_t page = pages.tables[tokens.slots[t] * pages.table_stride + position / pages.page_tokens];
  uint8_t* base = pages.base + page * pages.page_bytes + layer * pages.layer_bytes;
  const int64_t index = position % pages.page_tokens;
  const int64_t code = index * code_bytes(pages);
  return {base + pages.k_codes + code, base + pages.v_codes + code,
          reinterpret_cast<float*>(base + pages.k_scales) + index, reinterpret_cast<float*>(base + pages.v_scales) + index};
}

KVANT_INLINE KvPlace place_of_head(const KvPages& pages, uint8_t* codes, float* scales, const float* statics, int layer,
                                   int head) {
  uint8_t* at = codes + head * pages.page_tokens * code_bytes(pages);
  if (statics != nullptr) return {at, nullptr, statics[layer * pages.kv_heads + head]};
  return {at, scales + static_cast<int64_t>(head) * pages.page_tokens, 0};
}

KVANT_INLINE int64_t store_head_as(Format format, const float* x, int head_dim, const KvPlace& place) {
  switch (format) {
    case Format::bf16: return store_head<Format::bf16>(x, head_dim, place);
    case Format::fp16: return store_head<Format::fp16>(x, head_dim, place);
    case Format::int8: return store_head<Format::int8>(x, head_dim, place);
    case Format::e4m3: return store_head<Format::e4m3>(x, head_dim, place);
    case Format::e5m2: return store_head<Format::e5m2>(x, head_dim, place);
    default: return store_head<Format::fp32>(x, head_dim, place);
  }
}

int64_t kv_write(const float* k, const float* v, const StepTokens& tokens, const KvPages& pages, int layer, int64_t begin,
                 int64_t end) {
  const int head_dim = pages.head_dim;
  int64_t clipped = 0;
  for (int64_t t = begin; t < end; t++) {
    const KvToken at = kv_token(tokens, pages, layer, t);
    for (int head = 0; head < pages.kv_heads; head++) {
      const int64_t offset = (t * pages.kv_heads + head) * head_dim;
      const KvPlace k_place = place_of_head(pages, at.k_codes, at.k_scales, pages.k_static, layer, head);
      const KvPlace v_place = place_of_head(pages, at.v_codes, at.v_scales, pages.v_static, layer, head);
      clipped += store_head_as(pages.format, k + offset, head_dim, k_place);
      clipped += store_head_as(pages.format, v + offset, head_dim, v_place);
    }
  }
  return clipped;
}

// Normalizes and rotates one head as the arguments ask. out may be x.
KVANT_INLINE void prepare_head(const float* x, const float* norm, const QkvStoreArgs& args, int64_t position, int head_dim,
                               float* out) {
  const float* from = x;
  if (norm != nullptr) {
    normalize(from, norm, head_dim, args.epsilon, out);
    from = out;
  }
  if (args.rope.cos != nullptr) {
    const int64_t row = position * (head_dim / 2);
    rotate(from, args.rope.cos + row, args.rope.sin + row, head_dim, out);
  } else if (from != out) {
    for (int i = 0; i < head_dim; i += kLanes) store_upto(out + i, load_upto(from + i, head_dim - i), head_dim - i);
  }
}

// Keys are prepared in the token's row of q_out, which the queries overwrite afterwards.
int64_t qkv_store(const QkvStoreArgs& args, const StepTokens& tokens, const KvPages& pages, int64_t begin, int64_t end) {
  const int head_dim = pages.head_dim;
  const int64_t q_width = static_cast<int64_t>(args.heads) * head_dim;
  const int64_t kv_width = static_cast<int64_t>(pages.kv_heads) * head_dim;
  int64_t clipped = 0;
  for (int64_t t = begin; t < end; t++) {
    const KvToken at = kv_token(tokens, pages, args.layer, t);
    const float* q = args.qkv + t * (q_width + 2 * kv_width);
    const float* k = q + q_width;
    const float* v = k + kv_width;
    float* q_out = args.q_out + t * q_width;
    for (int head = 0; head < pages.kv_heads; head++) {
      const KvPlace k_place = place_of_head(pages, at.k_codes, at.k_scales, pages.k_static, args.layer, head);
      const KvPlace v_place = place_of_head(pages, at.v_codes, at.v_scales, pages.v_static, args.layer, head);
      prepare_head(k + head * head_dim, args.k_norm, args, tokens.positions[t], head_dim, q_out);
      clipped += store_head_as(pages.format, q_out, head_dim, k_place);
      clipped += store_head_as(pages.format, v + head * head_dim, head_dim, v_place);
    }
    for (int head = 0; head < args.heads; head++) {
      prepare_head(q + head * head_dim, args.q_norm, args, tokens.positions[t], head_dim, q_out + head * head_dim);
    }
  }
  return clipped;
}

}  // namespace
}  // namespace kvant::KVANT_TIER
