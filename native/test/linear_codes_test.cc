// Matrices loaded from codes and scales hold and multiply exactly those, in every format and tier.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "coded_fixture.h"
#include "counted_checks.h"
#include "kvant/linear.h"
#include "linear_fixture.h"
#include "linear_naive.h"

namespace {

using kvant::Format;
using kvant::MatrixSpec;
using kvant::Scales;
using kvant::Tier;
using namespace kvant_test;

void test_loaded_codes(const std::vector<Tier>& tiers, kvant::ThreadPool& pool) {
  Random random{99};
  for (const auto& [format, group, scales] : coded_formats()) {
    for (int64_t cols : {172, 21}) {
      MatrixSpec spec{19, cols, format, group, Format::fp32, 0, scales};
      // Two parts that share a block.
      MatrixSpec first = spec, second = spec;
      first.rows = 5, second.rows = 14;
      const CodedMatrix top = random_codes(first, random), rest = random_codes(second, random);
      std::vector<float> expected = top.values;
      expected.insert(expected.end(), rest.values.begin(), rest.values.end());
      for (Tier tier : tiers) {
        const auto matrix = kvant::make_matrix(spec, tier);
        matrix->load_codes(5, rest.rows(14), pool);
        matrix->load_codes(0, top.rows(5), pool);
        const std::vector<float> held = held_weights(*matrix);
        for (size_t i = 0; i < held.size(); i++) {
          check(held[i] == expected[i], [&] {
            return matrix->variant() + " holds " + std::to_string(held[i]) + " for codes of " + std::to_string(expected[i]);
          });
        }
      }
    }
  }
  report("codes and scales are held as they arrive");
}

// The lowest code everywhere, the codes of zero the highest, and the largest activation codes: the largest sums of products.
void test_lowest_codes(const std::vector<Tier>& tiers, kvant::ThreadPool& pool) {
  constexpr int64_t kTokens = 19, kRows = 33, kCols = 256;
  for (Format format : {Format::int8, Format::int4}) {
    for (Scales scales : {Scales::fp32, Scales::affine}) {
      for (int group : {-1, 32}) {
        const MatrixSpec spec{kRows, kCols, format, group, Format::int8, 0, scales};
        const int high = format == Format::int8 ? 127 : 7, zero = scales == Scales::affine ? high : 0;
        CodedMatrix lowest;
        lowest.codes.assign(static_cast<size_t>(kRows * kvant::code_row_bytes(kvant::bits(format), kCols)), format == Format::int8 ? 0x80 : 0x88);
        lowest.scales.assign(static_cast<size_t>(kvant::scale_count(group, kRows, kCols)), 1.0f);
        if (scales == Scales::affine) lowest.zeros.assign(lowest.scales.size(), static_cast<int8_t>(high));
        for (float sign : {1.0f, -1.0f}) {
          const std::vector<float> x(static_cast<size_t>(kTokens * kCols), sign * 127.0f);
          const float expected = sign * 127.0f * static_cast<float>((-high - 1 - zero) * kCols);
          for (Tier tier : tiers) {
            const auto matrix = kvant::make_matrix(spec, tier);
            matrix->load_codes(0, lowest.rows(kRows), pool);
            const std::vector<float> y = run(*matrix, x, kTokens, nullptr, 1);
            for (int64_t t = 0; t < kTokens; t++) {
              for (int64_t n = 0; n < kRows; n++) {
                const float got = y[static_cast<size_t>(t * (kRows + 3) + n)];
                check(got == expected, [&] {
                  return name_of(*matrix, kTokens) + " sums the lowest codes to " + std::to_string(got) + ", not " + std::to_string(expected);
                });
              }
            }
          }
        }
      }
    }
  }
  report("sums of products of the lowest codes are exact");
}

void test_nan(const std::vector<Tier>& tiers, kvant::ThreadPool& pool) {
  for (Tier tier : tiers) {
    // Both of e4m3, and one of e5m2 that no encoder makes.
    for (const auto& [format, code] : {std::pair{Format::e4m3, 0x7f}, {Format::e4m3, 0xff}, {Format::e5m2, 0xfd}}) {
      std::vector<uint8_t> codes(64, 0x30);
      codes[35] = static_cast<uint8_t>(code);
      const float ones[2] = {1.0f, 1.0f};
      const auto matrix = kvant::make_matrix({1, 64, format, 32, Format::fp32, 0}, tier);
      matrix->load_codes(0, {.rows = 1, .codes = codes.data(), .scales = ones, .scale_codes = nullptr, .zeros = nullptr, .tensor_scale = 0}, pool);
      check(std::isnan(run(*matrix, std::vector<float>(64, 1.0f), 1, nullptr, 0)[0]),
            [&] { return matrix->variant() + " loses the NaN code " + std::to_string(code); });
    }
  }
  report("codes that are no numbers make results that are none");
}

void test_refusals(kvant::ThreadPool& pool) {
  const auto coded = kvant::make_matrix({8, 8, Format::int8, -1, Format::fp32, 0}, Tier::scalar);
  check_refused("rows 4 to 9 of a matrix of 8", [&] { coded->load_codes(4, CodedMatrix{}.rows(5), pool); });
  const auto values = kvant::make_matrix({8, 8, Format::fp32, 0, Format::fp32, 0}, Tier::scalar);
  check_refused("fp32 weights are no codes", [&] { values->load_codes(0, CodedMatrix{}.rows(8), pool); });
  report("codes that fit no row or no weight are refused");
}

}  // namespace

int main() {
  kvant::ThreadPool pool(2);
  const std::vector<Tier> tiers = kvant::present_tiers();
  test_loaded_codes(tiers, pool);
  test_lowest_codes(tiers, pool);
  test_nan(tiers, pool);
  test_refusals(pool);
  if (failures > 0) std::printf("%d checks failed\n", failures);
  return failures == 0 ? 0 : 1;
}
