// Attention over stored pages against softmax(q K^T) V in double over the values that the stored codes stand for, and
// bit-equality over tiles, chunks and pages.
#include <algorithm>
#include <cmath>
#include <memory>

#include "ops_fixture.h"

namespace kvant::test {
namespace {

// Against max|v|: dot products of up to 256 float32 terms with |logit| < 12 move a probability by about 2e-6.
constexpr double kAttentionError = 4e-6;
// INT8 values summed in fixed point: each of 64 weights is off by up to 2^-17 of the largest, mostly cancelling; 5 deviations
// are 5 * sqrt(64 / 12) * 2^-16 = 1.8e-4.
constexpr double kFixedPointError = 1.8e-4;

struct Shape {
  int heads, kv_heads, head_dim, page_tokens, window;
};

// q, k and v of one sequence.
struct Sequence {
  Sequence(const Shape& shape, int length, uint64_t seed) {
    Random random(seed);
    const size_t tokens = static_cast<size_t>(length), dim = static_cast<size_t>(shape.head_dim);
    q = random.normals(tokens * static_cast<size_t>(shape.heads) * dim, 1.5f);
    k = random.normals(tokens * static_cast<size_t>(shape.kv_heads) * dim, 1.5f);
    v = random.normals(tokens * static_cast<size_t>(shape.kv_heads) * dim);
  }
  std::vector<float> q, k, v;
};

// How a sequence is fed: tokens per step, then tokens per tile inside a step; cycled.
struct Feeding {
  std::vector<int> steps, tiles;
};

std::vector<float> attend(Tier tier, const Shape& shape, const Sequence& sequence, int length, Cache& cache, int slot,
                          const Feeding& feeding) {
  const OpKernels& ops = op_kernels(tier);
  const int64_t q_width = static_cast<int64_t>(shape.heads) * shape.head_dim;
  const int64_t kv_width = static_cast<int64_t>(shape.kv_heads) * shape.head_dim;
  const int layer = cache.pages.layer_count - 1;
  std::vector<float> out(sequence.q.size(), -1.0f);
  std::vector<uint8_t> scratch(attention_scratch_bytes(shape.heads, cache.pages) + 16, 0xff);
  size_t step = 0, tile = 0;
  for (int start = 0; start < length;) {
    const int count = std::min(length - start, feeding.steps[step++ % feeding.steps.size()]);
    Tokens tokens;
    tokens.add(slot, start, count);
    CHECK(ops.kv_write(sequence.k.data() + start * kv_width, sequence.v.data() + start * kv_width, tokens.view(), cache.pages,
                       layer, 0, count) == 0);
    if (shape.window > 0) {  // pages behind the window are given back: their entries no longer name memory
      for (int page = 0; (page + 1) * shape.page_tokens <= start - shape.window + 1; page++) {
        cache.table[static_cast<size_t>(slot * cache.pages.table_stride + page)] = 1 << 30;
      }
    }
    const AttentionArgs args = {sequence.q.data() + start * q_width, out.data() + start * q_width, shape.heads,
                                1 / std::sqrt(static_cast<float>(shape.head_dim)), layer};
    for (int first = 0; first < count;) {
      const int32_t size = std::min(count - first, feeding.tiles[tile++ % feeding.tiles.size()]);
      for (int head = 0; head < shape.kv_heads; head++) {
        ops.attention(args, tokens.view(), cache.pages, {first, size, slot}, head, scratch.data() + 4);
      }
      first += size;
    }
    start += count;
  }
  for (size_t i = scratch.size() - 12; i < scratch.size(); i++) CHECK(scratch[i] == 0xff);  // stays inside its scratch
  return out;
}

// One query head as attention takes it: over INT8 pages, AbsMax codes times their scale.
std::vector<double> query_of(const float* q, int head_dim, Format format) {
  std::vector<double> values(q, q + head_dim);
  if (format != Format::int8) return values;
  float largest = 0;
  for (int d = 0; d < head_dim; d++) largest = std::max(largest, std::abs(q[d]));
  const float scale = largest / 127;
  for (int d = 0; d < head_dim; d++) values[static_cast<size_t>(d)] = std::nearbyint(q[d] / scale) * static_cast<double>(scale);
  return values;
}

void check_against_double(const Shape& shape, const Sequence& sequence, int length, const Cache& cache, int slot,
                          const std::vector<float>& out, const char* what) {
  const int group = shape.heads / shape.kv_heads, layer = cache.pages.layer_count - 1;
  double worst = 0;
  for (int head = 0; head < shape.heads; head++) {
    const int kv = head / group;
    std::vector<double> keys, values;
    double largest = 0;
    for (int j = 0; j < length; j++) {
      for (int d = 0; d < shape.head_dim; d++) {
        keys.push_back(cache.value(true, slot, layer, kv, j, d));
        values.push_back(cache.value(false, slot, layer, kv, j, d));
        largest = std::max(largest, std::abs(values.back()));
      }
    }
    for (int p = 0; p < length; p++) {
      const int first = shape.window > 0 ? std::max(0, p - shape.window + 1) : 0;
      const std::vector<double> q =
          query_of(sequence.q.data() + (static_cast<int64_t>(p) * shape.heads + head) * shape.head_dim, shape.head_dim,
                   cache.pages.format);
      std::vector<double> weights;
      double top = -std::numeric_limits<double>::infinity(), total = 0;
      for (int j = first; j <= p; j++) {
        double dot = 0;
        for (int d = 0; d < shape.head_dim; d++) {
          dot += q[static_cast<size_t>(d)] * keys[static_cast<size_t>(j * shape.head_dim + d)];
        }
        weights.push_back(dot / std::sqrt(static_cast<double>(shape.head_dim)));
        top = std::max(top, weights.back());
      }
      for (double& weight : weights) total += weight = std::exp(weight - top);
      for (int d = 0; d < shape.head_dim; d++) {
        double expected = 0;
        for (int j = first; j <= p; j++) {
          expected += weights[static_cast<size_t>(j - first)] / total * values[static_cast<size_t>(j * shape.head_dim + d)];
        }
        const double actual = out[static_cast<size_t>((static_cast<int64_t>(p) * shape.heads + head) * shape.head_dim + d)];
        CHECK(std::isfinite(actual));
        worst = std::max(worst, std::abs(actual - expected) / largest);
      }
    }
  }
  const double budget = cache.pages.format == Format::int8 ? kFixedPointError : kAttentionError;
  if (worst > budget) std::fprintf(stderr, "%s: error %g\n", what, worst);
  CHECK(worst <= budget);
}

// One token a step, one step in tiles of eight, and a ragged mixture give the same bits, on whatever pages.
void check_shape(Tier tier, Format format, const Shape& shape, float static_scale) {
  const int length = 85;
  const Sequence sequence(shape, length, 7);
  const std::string what = std::string(tier_name(tier)) + " " + name_of(format) + " heads " + std::to_string(shape.heads) + "/" +
                           std::to_string(shape.kv_heads) + " of " + std::to_string(shape.head_dim) + " window " +
                           std::to_string(shape.window);
  const auto options = [&](int page_tokens, int window, uint64_t seed) {
    return Cache::Options{format, shape.kv_heads, shape.head_dim, page_tokens, 2, window, 3, 96, seed, static_scale};
  };
  const Feeding one_by_one = {{1}, {1}}, whole = {{length}, {8}}, ragged = {{3, 40, 1, 17}, {8, 1, 5, 3}};

  Cache by_token(options(shape.page_tokens, shape.window, 1));
  const std::vector<float> alone = attend(tier, shape, sequence, length, by_token, 0, one_by_one);
  Cache in_one(options(shape.page_tokens, shape.window, 2));
  const std::vector<float> together = attend(tier, shape, sequence, length, in_one, 2, whole);
  check_against_double(shape, sequence, length, in_one, 2, together, what.c_str());
  CHECK(same_bits(alone, together));
  for (int page_tokens : {16, 32, 64}) {
    Shape other = shape;
    other.page_tokens = page_tokens;
    Cache mixed(options(page_tokens, shape.window, 3));
    CHECK(same_bits(alone, attend(tier, other, sequence, length, mixed, 1, ragged)));
  }
}

// With one position the output is the value itself, so 256 values of a head show all codes of an 8-bit format at once.
void check_every_code(Tier tier, Format format) {
  Cache cache({.format = format, .head_dim = 256, .static_scale = 1});
  Tokens tokens;
  tokens.add(0, 0, 1);
  const std::vector<float> zeros(256, 0.0f);
  op_kernels(tier).kv_write(zeros.data(), zeros.data(), tokens.view(), cache.pages, 0, 0, 1);
  for (int code = 0; code < 256; code++) cache.codes(false, 0, 0, 0, 0)[code] = static_cast<uint8_t>(code);
  std::vector<float> out(256);
  std::vector<uint8_t> scratch(attention_scratch_bytes(1, cache.pages));
  op_kernels(tier).attention({zeros.data(), out.data(), 1, 1, 0}, tokens.view(), cache.pages, {0, 1, 0}, 0, scratch.data());
  for (uint32_t code = 0; code < 256; code++) {
    const double expected = decode(format, code), actual = out[code];
    CHECK(std::isnan(expected) ? std::isnan(actual) : actual == expected);
  }
}

}  // namespace
}  // namespace kvant::test

int main() {
  using namespace kvant;
  using namespace kvant::test;
  const Shape shapes[] = {{2, 1, 8, 16, 0},   {3, 3, 16, 32, 0},  {4, 2, 24, 16, 0},   {8, 2, 64, 16, 0},
                          {1, 1, 80, 64, 0},  {12, 4, 96, 16, 0}, {16, 1, 128, 16, 0}, {2, 1, 256, 16, 0},
                          {4, 2, 64, 16, 20}, {5, 1, 10, 32, 33}, {2, 2, 64, 16, 1},   {2, 2, 64, 16, 1000}};
  for (Tier tier : present_tiers()) {
    for (Format format : kKvFormats) {
      for (const Shape& shape : shapes) check_shape(tier, format, shape, 0);
      if (bits(format) != 8) continue;
      check_shape(tier, format, shapes[3], 0.1f);
      check_every_code(tier, format);
    }
    std::printf("attention on %s: %zu shapes, all formats\n", tier_name(tier), std::size(shapes));
  }
}
