// y = x * w^T over every scheme and tier against a naive double-precision product of naively quantized weights.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "counted_checks.h"
#include "kvant/linear.h"
#include "linear_fixture.h"
#include "linear_naive.h"

namespace {

using kvant::Format;
using kvant::MatrixSpec;
using kvant::Tier;
using kvant::Scales;
using namespace kvant_test;

// Float products: each of K + G + 3 float32 roundings is at most 2^-24 of the sum of magnitudes. Integer sums are exact and
// leave the roundings of the groups and of the last step.
constexpr double kRounding = 1.0 / (1 << 24);

// Returns y of the largest batch.
std::vector<float> check_matrix(const MatrixSpec& spec, Tier tier, kvant::ThreadPool& pool, Random random,
                                int64_t tokens) {
  const int64_t rows = spec.rows, cols = spec.cols;
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

  for (int64_t count : {1, 2, 3, 5, 8, 13, 16, 37}) {
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
  Scales scales = Scales::fp32;
};

std::vector<Scheme> schemes() {
  std::vector<Scheme> all;
  const auto add = [&](Format format, std::vector<int> groups, std::vector<Format> activations, Scales scales = Scales::fp32) {
    for (int group : groups) {
      for (Format activation : activations) {
        all.push_back({format, group, activation, 0, scales});
        if (activation == Format::int8) all.push_back({format, group, activation, 0.0625f, scales});
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
  for (Format format : {Format::int8, Format::int4}) add(format, {-1, 32, 128, 7}, all_activations, Scales::affine);
  add(Format::e2m1, {32}, {Format::fp32, Format::bf16}, Scales::e8m0);
  add(Format::e2m1, {16}, {Format::fp32, Format::bf16}, Scales::e4m3);
  return all;
}

MatrixSpec spec_of(int64_t rows, int64_t cols, const Scheme& scheme) {
  return {rows, cols, scheme.format, scheme.group_size, scheme.activation, scheme.activation_scale, scheme.scales};
}

// Int8 activations must give the same bits on every tier.
void check_tiers(const MatrixSpec& spec, const std::vector<Tier>& tiers, kvant::ThreadPool& pool, Random random,
                 int64_t tokens = 23) {
  std::vector<float> best;
  for (Tier tier : tiers) {
    const std::vector<float> y = check_matrix(spec, tier, pool, random, tokens);
    if (spec.activation != Format::int8) continue;
    if (best.empty()) best = y;
    check(y == best, [&] {
      return std::string("int8 activations: tier ") + kvant::tier_name(tier) + " differs from " +
             kvant::tier_name(tiers.front());
    });
  }
}

void test_products(const std::vector<Tier>& tiers, kvant::ThreadPool& pool) {
  const int64_t shapes[][2] = {{1, 1}, {17, 8}, {172, 33}, {17, 172}, {1, 33}, {64, 256}, {100, 384}, {130, 64}};
  uint32_t seed = 20240607;
  std::printf("seed %u\n", seed);
  for (const Scheme& scheme : schemes()) {
    for (const auto& shape : shapes) {
      seed = seed * 1664525u + 1013904223u;
      check_tiers(spec_of(shape[0], shape[1], scheme), tiers, pool, Random{seed | 1});
    }
  }
  // Rows so long that a batch is cut into parts.
  for (const Scheme& scheme : {Scheme{Format::fp32, 0, Format::fp32, 0}, Scheme{Format::e4m3, 128, Format::bf16, 0},
                               Scheme{Format::int4, 32, Format::int8, 0}}) {
    check_tiers(spec_of(20, 8200, scheme), tiers, pool, Random{seed});
  }
  // Tokens for pairs of tile registers, for an odd one and for what is left, over groups that begin within a tile, take several
  // or are cut.
  for (const Scheme& scheme : schemes()) {
    if (scheme.activation != Format::int8 || scheme.activation_scale > 0) continue;
    check_tiers(spec_of(20, scheme.group_size < 0 ? 700 : 300, scheme), tiers, pool, Random{seed}, 59);
  }
  // Tokens left over that meet more blocks than one chunk holds, tokens for more than one batch, and that with sums and totals
  // to keep, because a group that is cut is followed by another.
  check_tiers(spec_of(300, 72, {Format::int4, 32, Format::int8, 0}), tiers, pool, Random{seed}, 37);
  check_tiers(spec_of(20, 72, {Format::int8, -1, Format::int8, 0}), tiers, pool, Random{seed}, 581);
  check_tiers(spec_of(20, 1100, {Format::int8, 520, Format::int8, 0}), tiers, pool, Random{seed}, 283);
  report("every scheme, shape and tier is within its bound and batch-invariant");
}

// A pool's ranges are whole blocks, of which the last range may have fewer.
void test_pools(const std::vector<Tier>& tiers, kvant::ThreadPool& pool) {
  constexpr int64_t kRows = 300, kCols = 72;
  Random random{91};
  std::vector<float> w(kRows * kCols), x(37 * kCols), bias(kRows);
  for (std::vector<float>* values : {&w, &x, &bias}) {
    for (float& value : *values) value = random.uniform();
  }
  for (Tier tier : tiers) {
    const auto matrix = kvant::make_matrix(spec_of(kRows, kCols, {Format::int4, 32, Format::int8, 0}), tier);
    matrix->load_rows(0, kRows, Format::fp32, w.data(), pool);
    for (int64_t tokens : {1, 15, 16, 37}) {
      const std::vector<float> whole = run(*matrix, x, tokens, bias.data(), 0);
      const size_t bytes = matrix->prepared_bytes(tokens);
      uint8_t* prepared = static_cast<uint8_t*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
      for (int threads : {1, 2, 7}) {
        kvant::ThreadPool threaded(threads);
        std::vector<float> y(static_cast<size_t>(tokens * kRows), -77.0f);
        matrix->prepare_all(x.data(), tokens, prepared, threaded);
        matrix->run_all(prepared, tokens, bias.data(), y.data(), threaded);
        for (int64_t t = 0; t < tokens; t++) {
          check(std::memcmp(&y[t * kRows], &whole[t * (kRows + 3)], kRows * sizeof(float)) == 0,
                [&] { return name_of(*matrix, tokens) + " differs on " + std::to_string(threads) + " threads"; });
        }
      }
      std::free(prepared);
    }
  }
  report("the ranges of a pool of any size cover a product");
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Values that try rounding: ties between neighbours of the format, the neighbours themselves, subnormals, extremes.
std::vector<float> hard_values(Format format, float largest) {
  std::vector<float> values = {0.0f, -0.0f, 1e-45f, -1e-38f, largest, -largest};
  if (format == Format::int8 || format == Format::int4) {
    for (float value = -largest; value < largest; value += 0.25f) values.push_back(value);
    return values;
  }
  const std::vector<double>& numbers = grid(format);
  const size_t step = numbers.size() > 256 ? numbers.size() / 256 : 1;
  for (size_t i = 0; i + 1 < numbers.size(); i += step) {
    const float low = static_cast<float>(numbers[i]), middle = static_cast<float>((numbers[i] + numbers[i + 1]) / 2);
    for (float value : {low, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, kInfinity)}) {
      values.push_back(i / step % 2 == 0 ? value : -value);
    }
  }
  return values;
}

uint16_t half_code(double value, Format format) {
  const std::vector<double>& numbers = grid(format);
  const size_t code = std::lower_bound(numbers.begin(), numbers.end(), std::fabs(value)) - numbers.begin();
  return static_cast<uint16_t>(code | (std::signbit(value) ? 0x8000u : 0u));
}

void test_codes(const std::vector<Tier>& tiers, kvant::ThreadPool& pool) {
  Random random{77};
  struct Held {
    Format format;
    std::vector<int> groups;
    Scales scales;
  };
  const std::vector<int> groups = {-1, -2, 32, 64, 128, 48, 7}, none = {0};
  const Held all[] = {
      {Format::fp32, none, Scales::fp32},   {Format::bf16, none, Scales::fp32},       {Format::fp16, none, Scales::fp32},
      {Format::int8, groups, Scales::fp32}, {Format::int4, groups, Scales::fp32},     {Format::e4m3, groups, Scales::fp32},
      {Format::e5m2, groups, Scales::fp32}, {Format::e2m1, groups, Scales::fp32},     {Format::int8, {-1, 32, 7}, Scales::affine},
      {Format::int4, {-1, 32, 7}, Scales::affine}, {Format::e2m1, {32}, Scales::e8m0}, {Format::e2m1, {16}, Scales::e4m3},
  };
  for (const auto& [format, held_groups, scales] : all) {
    for (int group : held_groups) {
      for (Format dtype : {Format::fp32, Format::bf16, Format::fp16}) {
        const MatrixSpec spec{19, 172, format, group, Format::fp32, 0, scales};
        std::vector<float> w(static_cast<size_t>(spec.rows * spec.cols));
        // The largest value alone makes the scale 1, so that ties stay ties.
        const float limit = std::min(kvant::max_value(format), 60000.0f);
        const std::vector<float> hard = hard_values(format == Format::fp32 ? Format::bf16 : format, limit);
        for (size_t i = 0; i < w.size(); i++) {
          const int64_t row = static_cast<int64_t>(i) / spec.cols;
          if (row == 0) w[i] = 0.0f;
          else if (row < 10) w[i] = static_cast<int64_t>(i) % spec.cols % 7 == 0 ? limit : hard[random.next() % hard.size()];
          else w[i] = random.uniform() * static_cast<float>(row * row);
          if (dtype != Format::fp32) w[i] = static_cast<float>(nearest(w[i], dtype));
        }
        std::vector<uint16_t> half(w.size());
        for (size_t i = 0; dtype != Format::fp32 && i < w.size(); i++) half[i] = half_code(w[i], dtype);
        const Naive naive = quantize_weights(spec, w, 0, spec.rows);
        for (Tier tier : tiers) {
          const auto matrix = kvant::make_matrix(spec, tier);
          matrix->load_rows(0, spec.rows, dtype, dtype == Format::fp32 ? static_cast<const void*>(w.data()) : half.data(), pool);
          const std::vector<float> held = held_weights(*matrix);
          for (size_t i = 0; i < w.size(); i++) {
            const float expected = static_cast<float>(naive.codes[i]) * naive.scales[i];
            check(held[i] == expected, [&] {
              return matrix->variant() + " holds " + std::to_string(held[i]) + " for " + std::to_string(w[i]) + ", not " +
                     std::to_string(expected);
            });
          }
        }
      }
    }
  }
  report("codes and scales are those of a naive quantizer");
}

void test_rounding_of_activations(const std::vector<Tier>& tiers, kvant::ThreadPool& pool) {
  for (Format activation : {Format::bf16, Format::fp16}) {
    std::vector<float> x = hard_values(activation, 65504.0f);
    for (float value : {65519.0f, 65520.0f, -1e6f, 3.4028235e38f, kInfinity, -kInfinity, kNan}) x.push_back(value);
    const float largest = static_cast<float>(grid(activation).back());
    const float one = 1.0f;
    for (Tier tier : tiers) {
      const auto matrix = kvant::make_matrix({1, 1, Format::fp32, 0, activation, 0}, tier);
      matrix->load_rows(0, 1, Format::fp32, &one, pool);
      const std::vector<float> y = run(*matrix, x, static_cast<int64_t>(x.size()), nullptr, 0);
      for (size_t i = 0; i < x.size(); i++) {
        const float expected = std::isnan(x[i]) ? x[i]
            : std::fabs(x[i]) > largest         ? std::copysign(largest, x[i])
                                                : static_cast<float>(nearest(x[i], activation));
        check(y[4 * i] == expected || (std::isnan(y[4 * i]) && std::isnan(expected)), [&] {
          return matrix->variant() + " rounds " + std::to_string(x[i]) + " to " + std::to_string(y[4 * i]) + ", not " +
                 std::to_string(expected);
        });
      }
    }
  }
  report("activations round to nearest even and saturate");
}

void test_not_finite(const std::vector<Tier>& tiers, kvant::ThreadPool& pool) {
  for (Tier tier : tiers) {
    // One NaN and one infinite weight, in different groups of different rows; 2 rows x 64.
    for (Format format : {Format::int8, Format::int4, Format::e4m3, Format::e5m2, Format::e2m1}) {
      std::vector<float> w(128, 1.0f), x(64, 1.0f);
      w[3] = kNan;
      w[64 + 40] = kInfinity;
      const auto matrix = kvant::make_matrix({2, 64, format, 32, Format::fp32, 0}, tier);
      matrix->load_rows(0, 2, Format::fp32, w.data(), pool);
      const std::vector<float> y = run(*matrix, x, 1, nullptr, 0);
      if (format == Format::e4m3 || format == Format::e5m2) {
        check(std::isnan(y[0]), [&] { return matrix->variant() + " loses a NaN weight"; });
      } else {
        check(std::fabs(y[0] - 63.0f) < 1e-3f, [&] { return matrix->variant() + " does not take a NaN weight for 0"; });
      }
      // It counts as the largest float32, and code times scale may round back up to infinity.
      check(y[1] > 3e38f, [&] { return matrix->variant() + " does not saturate an infinite weight"; });
    }
    std::vector<float> w(8, 1.0f), x = {kNan, 1, -1, 127, 0.5f, 1.5f, kInfinity, 2};
    const auto matrix = kvant::make_matrix({1, 8, Format::int8, -1, Format::int8, 1.0f}, tier);
    matrix->load_rows(0, 1, Format::fp32, w.data(), pool);
    const float sum = run(*matrix, x, 1, nullptr, 0)[0];
    check(std::fabs(sum - (0 + 1 - 1 + 127 + 0 + 2 + 127 + 2)) < 1e-3f,
          [&] { return matrix->variant() + " codes special activations to a sum of " + std::to_string(sum); });
  }
  report("NaN and infinity in weights and activations");
}

void test_refusals(kvant::ThreadPool& pool) {
  const auto make = [](MatrixSpec spec) { return [spec] { kvant::make_matrix(spec, Tier::scalar); }; };
  check_refused("0 x 8", make({0, 8, Format::fp32, 0, Format::fp32, 0}));
  check_refused("int8 weights with group size 0", make({8, 8, Format::int8, 0, Format::fp32, 0}));
  check_refused("bf16 weights with group size 32", make({8, 8, Format::bf16, 32, Format::fp32, 0}));
  check_refused("e4m3-channel x int8", make({8, 8, Format::e4m3, -1, Format::int8, 0}));
  check_refused("int8-g32 x e4m3", make({8, 8, Format::int8, 32, Format::e4m3, 0}));
  check_refused("activation scale -1", make({8, 8, Format::int8, -1, Format::int8, -1}));
  check_refused("activation scale nan", make({8, 8, Format::int8, -1, Format::int8, kNan}));
  check_refused("only int8 takes one", make({8, 8, Format::int8, -1, Format::bf16, 1}));
  check_refused("mxfp4 x fp32 with group size 16; it is always 32",
                make({8, 8, Format::e2m1, 16, Format::fp32, 0, Scales::e8m0}));
  check_refused("zero points are per row or group", make({8, 8, Format::int4, -2, Format::fp32, 0, Scales::affine}));
  check_refused("no kernel for nvfp4 x int8", make({8, 8, Format::e2m1, 16, Format::int8, 0, Scales::e4m3}));
  check_refused("int32 sums hold", make({1, 200000, Format::int8, -1, Format::int8, 0}));
  const auto matrix = kvant::make_matrix({8, 8, Format::fp32, 0, Format::fp32, 0}, Tier::scalar);
  const std::vector<float> w(64);
  check_refused("rows 4 to 9 of a matrix of 8", [&] { matrix->load_rows(4, 5, Format::fp32, w.data(), pool); });
  check_refused("a source of int8", [&] { matrix->load_rows(0, 8, Format::int8, w.data(), pool); });
  report("impossible schemes and sources are refused by name");
}

}  // namespace

int main() {
  kvant::ThreadPool pool(2);
  const std::vector<Tier> tiers = kvant::present_tiers();
  for (Tier tier : tiers) std::printf("tier %s\n", kvant::tier_name(tier));
  test_codes(tiers, pool);
  test_rounding_of_activations(tiers, pool);
  test_not_finite(tiers, pool);
  test_refusals(pool);
  test_products(tiers, pool);
  test_pools(tiers, pool);
  if (failures > 0) std::printf("%d checks failed\n", failures);
  return failures == 0 ? 0 : 1;
}
