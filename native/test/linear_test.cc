// y = x * w^T over every scheme and tier against a naive double-precision product of naively quantized weights.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "kvant/linear.h"

namespace {

using kvant::Format;
using kvant::MatrixSpec;
using kvant::Tier;

// Float products: each of K + G + 3 float32 roundings is at most 2^-24 of the sum of magnitudes. Integer sums are exact and
// leave the roundings of the groups and of the last step.
constexpr double kRounding = 1.0 / (1 << 24);

int failures = 0;

// `what` is built only when the check fails.
template <class What>
void check(bool good, const What& what) {
  if (good) return;
  failures++;
  if (failures <= 20) std::printf("FAILED %s\n", what().c_str());
}

// xorshift32; the same numbers on every platform.
struct Random {
  uint32_t state;
  uint32_t next() {
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    return state;
  }
  float uniform() { return static_cast<float>(next() >> 8) / 8388608.0f - 1.0f; }
};

// All finite numbers of a small float format in ascending order of magnitude, from the definition.
std::vector<double> magnitudes(int exponent_bits, int mantissa_bits, int count) {
  std::vector<double> values;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  for (int code = 0; code < count; code++) {
    const int exponent = code >> mantissa_bits, mantissa = code & ((1 << mantissa_bits) - 1);
    values.push_back(exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                                   : std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits));
  }
  return values;
}

const std::vector<double>& grid(Format format) {
  static const std::vector<double> e4m3 = magnitudes(4, 3, 127), e5m2 = magnitudes(5, 2, 124), e2m1 = magnitudes(2, 1, 8),
                                   fp16 = magnitudes(5, 10, 0x7c00), bf16 = magnitudes(8, 7, 0x7f80);
  switch (format) {
    case Format::e4m3: return e4m3;
    case Format::e5m2: return e5m2;
    case Format::e2m1: return e2m1;
    case Format::fp16: return fp16;
    default: return bf16;
  }
}

// Nearest number of the format; of two equally near the one with the even code.
double nearest(float value, Format format) {
  const std::vector<double>& values = grid(format);
  const double magnitude = std::fabs(static_cast<double>(value));
  const size_t above = std::lower_bound(values.begin(), values.end(), magnitude) - values.begin();
  size_t code = above;
  if (above == values.size()) {
    code = above - 1;
  } else if (above > 0) {
    const double up = values[above] - magnitude, down = magnitude - values[above - 1];
    if (down < up || (down == up && (above - 1) % 2 == 0)) code = above - 1;
  }
  return std::copysign(values[code], static_cast<double>(value));
}

double quantized(float value, float scale, Format format) {
  if (scale == 0) return 0;
  const float quotient = value / scale;
  const float limit = kvant::max_value(format);
  const float clamped = std::min(limit, std::max(-limit, quotient));
  if (format == Format::int8 || format == Format::int4) return std::nearbyint(clamped);
  return nearest(clamped, format);
}

float absmax_scale(const float* values, int64_t count, Format format) {
  float largest = 0;
  for (int64_t i = 0; i < count; i++) largest = std::max(largest, std::fabs(values[i]));
  return largest / kvant::max_value(format);
}

struct Naive {
  std::vector<double> codes;  // [rows, cols]
  std::vector<float> scales;  // [rows, cols]
};

Naive quantize_weights(const MatrixSpec& spec, const std::vector<float>& w, int64_t first_row, int64_t rows) {
  Naive out{std::vector<double>(w.size()), std::vector<float>(w.size(), 1.0f)};
  const int64_t begin = first_row * spec.cols, end = begin + rows * spec.cols;
  if (spec.group_size == 0) {
    for (int64_t i = begin; i < end; i++) out.codes[i] = spec.format == Format::fp32 ? w[i] : nearest(w[i], spec.format);
    return out;
  }
  for (int64_t first = begin, last; first < end; first = last) {
    const int64_t row_end = (first / spec.cols + 1) * spec.cols;
    last = spec.group_size == -2 ? end : spec.group_size == -1 ? row_end : std::min(first + spec.group_size, row_end);
    const float scale = absmax_scale(&w[first], last - first, spec.format);
    for (int64_t i = first; i < last; i++) {
      out.scales[i] = scale;
      out.codes[i] = quantized(w[i], scale, spec.format);
    }
  }
  return out;
}

std::vector<float> run(const kvant::Matrix& matrix, const std::vector<float>& x, int64_t tokens, const float* bias,
                       int64_t split) {
  const MatrixSpec& spec = matrix.spec();
  const size_t bytes = matrix.prepared_bytes(tokens);
  uint8_t* prepared = static_cast<uint8_t*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
  std::memset(prepared, 0xff, bytes);
  const int64_t half = tokens / 2;
  matrix.prepare(x.data(), spec.cols, tokens, half, tokens, prepared);
  matrix.prepare(x.data(), spec.cols, tokens, 0, half, prepared);
  std::vector<float> y(static_cast<size_t>(tokens * (spec.rows + 3)), -77.0f);
  matrix.run(prepared, tokens, bias, y.data(), spec.rows + 3, split, matrix.block_count());
  matrix.run(prepared, tokens, bias, y.data(), spec.rows + 3, 0, split);
  std::free(prepared);
  return y;
}

std::string name_of(const kvant::Matrix& matrix, int64_t tokens) {
  const MatrixSpec& spec = matrix.spec();
  return matrix.variant() + " N=" + std::to_string(spec.rows) + " K=" + std::to_string(spec.cols) + " T=" +
         std::to_string(tokens);
}

// Returns y of the largest batch.
std::vector<float> check_matrix(const MatrixSpec& spec, Tier tier, kvant::ThreadPool& pool, Random random) {
  const int64_t rows = spec.rows, cols = spec.cols, tokens = 23;
  std::vector<float> w(static_cast<size_t>(rows * cols)), x(static_cast<size_t>(tokens * cols)), bias(rows);
  for (float& value : w) value = random.uniform() * (random.next() % 64 == 0 ? 20.0f : 1.0f) * 0.05f;
  for (float& value : x) value = random.uniform() * (random.next() % 64 == 0 ? 20.0f : 1.0f);
  for (float& value : bias) value = random.uniform();
  if (rows > 2) std::fill_n(w.begin() + cols, cols, 0.0f);  // a row of zeros
  std::fill_n(x.begin() + 2 * cols, cols, 0.0f);            // a token of zeros

  const auto matrix = kvant::make_matrix(spec, tier);
  const int64_t first_part = rows / 3;  // two parts that share a block
  matrix->load_rows(0, first_part, Format::fp32, w.data(), pool);
  matrix->load_rows(first_part, rows - first_part, Format::fp32, w.data() + first_part * cols, pool);
  const Naive top = quantize_weights(spec, w, 0, first_part);
  const Naive rest = quantize_weights(spec, w, first_part, rows - first_part);

  const std::vector<float> y = run(*matrix, x, tokens, bias.data(), matrix->block_count() / 2);
  const int64_t group = spec.group_size > 0 ? std::min<int64_t>(spec.group_size, cols) : cols;
  const bool exact = spec.activation == Format::int8;
  const double roundings = static_cast<double>((exact ? 0 : cols) + 2 * ((cols + group - 1) / group) + 3);
  for (int64_t t = 0; t < tokens; t++) {
    const float scale = !exact ? 1.0f
        : spec.activation_scale > 0 ? spec.activation_scale
                                    : absmax_scale(&x[t * cols], cols, Format::int8);
    std::vector<double> input(cols);
    for (int64_t k = 0; k < cols; k++) {
      const float value = x[t * cols + k];
      input[k] = spec.activation == Format::fp32 ? value
          : exact ? quantized(value, scale, Format::int8) * scale
                  : nearest(value, spec.activation);
    }
    for (int64_t n = 0; n < rows; n++) {
      const Naive& part = n < first_part ? top : rest;
      double sum = bias[n], magnitude = std::fabs(bias[n]);
      for (int64_t k = 0; k < cols; k++) {
        const double term = input[k] * part.codes[n * cols + k] * part.scales[n * cols + k];
        sum += term;
        magnitude += std::fabs(term);
      }
      const double got = y[t * (rows + 3) + n];
      // 1e-44: products of subnormal numbers.
      check(std::fabs(got - sum) <= roundings * kRounding * magnitude + 1e-44, [&] {
        return name_of(*matrix, tokens) + " token " + std::to_string(t) + " feature " + std::to_string(n) + ": " +
               std::to_string(got) + " for " + std::to_string(sum);
      });
    }
    for (int64_t pad = rows; pad < rows + 3; pad++) {
      check(y[t * (rows + 3) + pad] == -77.0f, [&] { return name_of(*matrix, tokens) + " writes past the last feature"; });
    }
  }

  for (int64_t count : {1, 2, 3, 5, 8, 13}) {
    for (int64_t first = 0; first + count <= tokens; first += count) {
      const std::vector<float> some(x.begin() + first * cols, x.begin() + (first + count) * cols);
      const std::vector<float> again = run(*matrix, some, count, bias.data(), first % (matrix->block_count() + 1));
      check(std::memcmp(again.data(), &y[first * (rows + 3)], again.size() * sizeof(float)) == 0,
            [&] { return name_of(*matrix, count) + " differs from the same tokens in a larger batch"; });
    }
  }
  return y;
}

struct Scheme {
  Format format;
  int group_size;
  Format activation;
  float activation_scale;
};

std::vector<Scheme> schemes() {
  std::vector<Scheme> all;
  const auto add = [&](Format format, std::vector<int> groups, std::vector<Format> activations) {
    for (int group : groups) {
      for (Format activation : activations) {
        all.push_back({format, group, activation, 0});
        if (activation == Format::int8) all.push_back({format, group, activation, 0.0625f});
      }
    }
  };
  const std::vector<Format> floats = {Format::fp32, Format::bf16, Format::fp16};
  const std::vector<Format> all_activations = {Format::fp32, Format::bf16, Format::fp16, Format::int8};
  for (Format format : floats) add(format, {0}, floats);
  const std::vector<int> groups = {-1, -2, 32, 64, 128, 48, 7};
  add(Format::int8, groups, all_activations);
  add(Format::int4, groups, all_activations);
  for (Format format : {Format::e4m3, Format::e5m2, Format::e2m1}) add(format, groups, {Format::fp32, Format::bf16});
  return all;
}

void test_products(const std::vector<Tier>& tiers, kvant::ThreadPool& pool) {
  const int64_t shapes[][2] = {{1, 1}, {17, 8}, {172, 33}, {17, 172}, {1, 33}, {64, 256}, {100, 384}, {130, 64}};
  uint32_t seed = 20240607;
  std::printf("seed %u\n", seed);
  for (const Scheme& scheme : schemes()) {
    for (const auto& shape : shapes) {
      seed = seed * 1664525u + 1013904223u;
      MatrixSpec spec{shape[0], shape[1], scheme.format, scheme.group_size, scheme.activation, scheme.activation_scale};
      std::vector<float> best;
      for (Tier tier : tiers) {
        const std::vector<float> y = check_matrix(spec, tier, pool, Random{seed | 1});
        if (spec.activation == Format::int8) {
          if (best.empty()) best = y;
          check(y == best, [&] {
            return std::string("int8 activations: tier ") + kvant::tier_name(tier) + " differs from " +
                   kvant::tier_name(tiers.front());
          });
        }
      }
    }
  }
  std::printf("ok every scheme, shape and tier is within its bound and batch-invariant\n");
}

}  // namespace

int main() {
  kvant::ThreadPool pool(2);
  const std::vector<Tier> tiers = kvant::present_tiers();
  for (Tier tier : tiers) std::printf("tier %s\n", kvant::tier_name(tier));
  test_products(tiers, pool);
  if (failures > 0) std::printf("%d checks failed\n", failures);
  return failures == 0 ? 0 : 1;
}
