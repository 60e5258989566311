// Codes and scales that kv_write and qkv_store leave in pages, bit for bit against the definitions, and the float ops of
// qkv_store against double precision.
#include <algorithm>

#include "ops_fixture.h"

namespace kvant::test {
namespace {

// RMS norm and rotation of values of size about 1, in float32.
constexpr double kPreparedError = 2e-6;

int magnitude_codes(Format format) {
  switch (format) {
    case Format::bf16: return 0x7f80;
    case Format::fp16: return 0x7c00;
    case Format::e4m3: return 0x7f;
    default: return 0x7c;  // e5m2
  }
}

// Round to nearest, ties to the even code, saturating: by bisection over the ordered finite magnitudes.
uint32_t naive_encode(Format format, float x) {
  if (format == Format::int8) {
    if (std::isnan(x)) return 0;
    return static_cast<uint8_t>(static_cast<int8_t>(std::nearbyint(std::clamp(x, -127.0f, 127.0f))));
  }
  if (format == Format::fp32) {
    uint32_t pattern;
    std::memcpy(&pattern, &x, sizeof pattern);
    return pattern;
  }
  const int sign_bit = bits(format) - 1;
  if (std::isnan(x)) return format == Format::bf16 ? 0x7fc0 : format == Format::fp16 ? 0x7e00 : format == Format::e4m3 ? 0x7f : 0x7e;
  const double size = std::abs(static_cast<double>(x));
  int low = 0, high = magnitude_codes(format);  // decode(low) <= size, and size below code `high` if that is finite
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (decode(format, static_cast<uint32_t>(middle)) <= size ? low : high) = middle;
  }
  uint32_t code = static_cast<uint32_t>(low);
  if (low + 1 < magnitude_codes(format)) {
    const double below = size - decode(format, code), above = decode(format, code + 1) - size;
    if (above < below || (above == below && (code & 1) != 0)) code++;
  }
  return code | static_cast<uint32_t>(std::signbit(x)) << sign_bit;
}

// The boundaries of every finite code: its value, the middle to the next one, and a float32 step to either side.
std::vector<float> boundary_values(Format format) {
  std::vector<float> values = {0.0f, -0.0f, 1e-45f, -1e-45f, 1e38f, -1e38f, INFINITY, -INFINITY, NAN, -NAN, 3.4028235e38f};
  const int count = format == Format::int8 ? 128 : magnitude_codes(format);
  for (int code = 0; code < count; code++) {
    const double value = decode(format, static_cast<uint32_t>(code));
    const bool last = code + 1 == count;
    const double next = last ? value * 1.01 : decode(format, static_cast<uint32_t>(code + 1));
    for (const double exact : {value, (value + next) / 2}) {
      const float middle = static_cast<float>(exact);
      for (const float each : {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, INFINITY)}) {
        values.push_back(each);
        values.push_back(-each);
      }
    }
  }
  values.resize((values.size() + 63) / 64 * 64);
  return values;
}

// Every rounding boundary of every format through kv_write, with a static scale of 1 where the format has scales.
void check_encode(Tier tier, Format format) {
  const std::vector<float> values = boundary_values(format);
  const int head_dim = 64, count = static_cast<int>(values.size()) / head_dim;
  Cache cache({.format = format, .head_dim = head_dim, .context = count, .static_scale = bits(format) == 8 ? 1.0f : 0.0f});
  Tokens tokens;
  tokens.add(0, 0, count);
  int64_t expected_clips = 0;
  if (bits(format) == 8) {
    for (const float value : values) expected_clips += 2 * (std::abs(value) > max_value(format));
  }
  const int64_t clips =
      op_kernels(tier).kv_write(values.data(), values.data(), tokens.view(), cache.pages, 0, 0, count);
  CHECK(clips == expected_clips);
  for (int t = 0; t < count; t++) {
    for (int d = 0; d < head_dim; d++) {
      const uint32_t expected = naive_encode(format, values[static_cast<size_t>(t * head_dim + d)]);
      CHECK(cache.code(true, 0, 0, 0, t, d) == expected);
      CHECK(cache.code(false, 0, 0, 0, t, d) == expected);
    }
  }
}

// All codes of the 16-bit formats, specials included.
void check_decode(Tier tier, Format format) {
  const int width = 16;
  std::vector<uint16_t> table(65536);
  for (size_t i = 0; i < table.size(); i++) table[i] = static_cast<uint16_t>(i);
  Tokens tokens;
  tokens.add(0, 0, 65536 / width);
  for (size_t i = 0; i < tokens.ids.size(); i++) tokens.ids[i] = static_cast<int32_t>(i);
  std::vector<float> out(table.size());
  op_kernels(tier).embed(tokens.view(), table.data(), format, width, out.data(), 0, tokens.view().count);
  for (uint32_t code = 0; code < table.size(); code++) {
    const double expected = decode(format, code), actual = out[code];
    CHECK(std::isnan(expected) ? std::isnan(actual) : actual == expected && std::signbit(actual) == std::signbit(expected));
  }
}

void check_stored(const Cache& cache, bool is_key, int slot, int layer, int head, int position, const float* x) {
  const Format format = cache.pages.format;
  float scale = 1;
  if (bits(format) == 8) {
    float most = 0;
    for (int d = 0; d < cache.pages.head_dim; d++) {
      if (std::abs(x[d]) > most) most = std::abs(x[d]);  // NaN does not count
    }
    scale = cache.pages.k_static != nullptr ? cache.scale(is_key, slot, layer, head, position)
                                            : std::min(most, std::numeric_limits<float>::max()) / max_value(format);
    CHECK(cache.scale(is_key, slot, layer, head, position) == scale);
  }
  for (int d = 0; d < cache.pages.head_dim; d++) {
    const float quotient = scale == 0 ? 0 : x[d] / scale;
    CHECK(cache.code(is_key, slot, layer, head, position, d) == naive_encode(format, quotient));
  }
}

// Token-head scales of ordinary, zero, tiny, huge and broken vectors; nothing is written beside them.
void check_write(Tier tier, Format format, int head_dim, int page_tokens, float static_scale) {
  Cache cache({.format = format, .kv_heads = 3, .head_dim = head_dim, .page_tokens = page_tokens, .layers = 2, .slots = 2,
               .context = 70, .static_scale = static_scale});
  Random random(11);
  const int count = 9, first = 60;
  const int64_t width = 3 * head_dim;
  std::vector<float> k = random.normals(static_cast<size_t>(count * width)), v = k;
  for (float& value : v) value *= 7;
  for (int d = 0; d < head_dim; d++) {
    k[static_cast<size_t>(d)] = 0;
    k[static_cast<size_t>(width + d)] *= 1e-44f;
    k[static_cast<size_t>(2 * width + d)] *= 1e38f;
  }
  k[static_cast<size_t>(3 * width)] = NAN;
  k[static_cast<size_t>(4 * width)] = INFINITY;
  Tokens tokens;
  tokens.add(1, first, count);
  op_kernels(tier).kv_write(k.data(), v.data(), tokens.view(), cache.pages, 1, 0, 4);
  op_kernels(tier).kv_write(k.data(), v.data(), tokens.view(), cache.pages, 1, 4, count);
  for (int t = 0; t < count; t++) {
    for (int head = 0; head < 3; head++) {
      check_stored(cache, true, 1, 1, head, first + t, k.data() + t * width + head * head_dim);
      check_stored(cache, false, 1, 1, head, first + t, v.data() + t * width + head * head_dim);
    }
  }
  for (int d = 0; d < head_dim; d++) {
    for (const uint32_t untouched : {cache.code(true, 1, 1, 2, first - 1, d), cache.code(false, 1, 0, 2, first, d),
                                     cache.code(true, 0, 1, 0, first, d)}) {
      CHECK(untouched == (bits(format) == 32 ? 0xffffffffu : (1u << bits(format)) - 1));
    }
  }
}

std::vector<double> prepared(const float* x, const float* norm, const RopeTables& rope, int position, int head_dim) {
  std::vector<double> y(x, x + head_dim), z(y.size());
  if (norm != nullptr) {
    double squares = 0;
    for (const double value : y) squares += value * value;
    for (int d = 0; d < head_dim; d++) y[static_cast<size_t>(d)] *= norm[d] / std::sqrt(squares / head_dim + 1e-6);
  }
  if (rope.cos == nullptr) return y;
  const int half = head_dim / 2;
  for (int i = 0; i < half; i++) {
    const double c = rope.cos[position * half + i], s = rope.sin[position * half + i];
    const double low = y[static_cast<size_t>(i)], high = y[static_cast<size_t>(i + half)];
    z[static_cast<size_t>(i)] = low * c - high * s;
    z[static_cast<size_t>(i + half)] = high * c + low * s;
  }
  return z;
}

void check_qkv_store(Tier tier, Format format, int head_dim, bool norm, bool rotate) {
  const int heads = 4, kv_heads = 2, count = 5, first = 13, context = 32, half = head_dim / 2;
  Cache cache({.format = format, .kv_heads = kv_heads, .head_dim = head_dim, .layers = 2, .context = context});
  Random random(3);
  const int64_t width = static_cast<int64_t>(heads + 2 * kv_heads) * head_dim;
  const std::vector<float> qkv = random.normals(static_cast<size_t>(count * width));
  const std::vector<float> q_norm = random.normals(static_cast<size_t>(head_dim)), k_norm = random.normals(static_cast<size_t>(head_dim));
  std::vector<float> cos, sin, q_out(static_cast<size_t>(count * heads * head_dim));
  for (int i = 0; i < context * half; i++) {
    cos.push_back(static_cast<float>(std::cos(i * 0.37)));
    sin.push_back(static_cast<float>(std::sin(i * 0.37)));
  }
  QkvStoreArgs args;
  args.qkv = qkv.data();
  args.q_out = q_out.data();
  args.heads = heads;
  if (norm) {
    args.q_norm = q_norm.data();
    args.k_norm = k_norm.data();
    args.epsilon = 1e-6f;
  }
  if (rotate) args.rope = {cos.data(), sin.data()};
  args.layer = 1;
  Tokens tokens;
  tokens.add(0, first, count);
  CHECK(op_kernels(tier).qkv_store(args, tokens.view(), cache.pages, 0, count) == 0);
  for (int t = 0; t < count; t++) {
    for (int head = 0; head < heads + 2 * kv_heads; head++) {
      const float* x = qkv.data() + t * width + head * head_dim;
      if (head >= heads + kv_heads) {
        check_stored(cache, false, 0, 1, head - heads - kv_heads, first + t, x);
        continue;
      }
      const bool is_query = head < heads;
      const std::vector<double> y = prepared(x, is_query ? args.q_norm : args.k_norm, args.rope, first + t, head_dim);
      double largest = 0;
      for (const double value : y) largest = std::max(largest, std::abs(value));
      for (int d = 0; d < head_dim; d++) {
        const double expected = y[static_cast<size_t>(d)];
        if (is_query) {
          CHECK(std::abs(q_out[static_cast<size_t>((t * heads + head) * head_dim + d)] - expected) <= kPreparedError * (1 + largest));
        } else if (bits(format) == 32) {
          CHECK(std::abs(cache.value(true, 0, 1, head - heads, first + t, d) - expected) <= kPreparedError * (1 + largest));
        } else {  // half a step of the coarsest 8-bit format
          CHECK(std::abs(cache.value(true, 0, 1, head - heads, first + t, d) - expected) <= 0.126 * std::abs(expected) + largest / 250);
        }
      }
    }
  }
}

}  // namespace
}  // namespace kvant::test

int main() {
  using namespace kvant;
  using namespace kvant::test;
  for (const Tier tier : present_tiers()) {
    check_decode(tier, Format::bf16);
    check_decode(tier, Format::fp16);
    for (const Format format : kKvFormats) {
      if (format != Format::fp32) check_encode(tier, format);
      for (const int head_dim : {8, 10, 16, 24, 64, 80, 256}) {
        check_write(tier, format, head_dim, 16, 0);
        check_write(tier, format, head_dim, 64, 0);
        if (bits(format) == 8) check_write(tier, format, head_dim, 32, 0.05f);
        check_qkv_store(tier, format, head_dim, true, true);
        check_qkv_store(tier, format, head_dim, false, true);
        check_qkv_store(tier, format, head_dim, true, false);
        check_qkv_store(tier, format, head_dim, false, false);
      }
    }
    std::printf("KV codes on %s: every rounding boundary of every format\n", tier_name(tier));
  }
}
