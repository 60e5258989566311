// Few tokens of bf16 that meet e4m3 and e5m2 weights as fp16 numbers over a power of two: rows that span more exponents than fp16 has,
// zeros, subnormal numbers, infinity and NaN against a double-precision product; batch invariance where it is promised; every code
// of the weights; infinite scales; rings of stages that wrap; norms and gated products that write this form against the form of what they
// compute; limits of a matrix. Skips aloud where there is no device.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/op_kernels.h"
#include "cuda_linear_fixture.h"
#include "kvant/cuda/linear.h"
#include "linear_naive.h"

namespace {

using kvant::cuda::CudaMatrix;
using kvant::cuda::Operand;
using namespace kvant_test;

// As in cuda_linear_test.cu: roundings of a float32 sum, whose terms tensor cores cut.
constexpr double kTensorRounding = 4.0 / (1 << 24);
// Of the largest magnitude of a row: half of fp16's smallest number, when the largest is 2^14.
constexpr double kHeldRounding = 1.0 / (int64_t{1} << 39);
constexpr double kSmallestFloat = 1e-44;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
// Such rows serve kFewTokens whatever the device and format, and more than kMostSharedTokens only when deterministic.
constexpr int64_t kFewTokens = 16, kMostSharedTokens = 128;

float spanning(Random& random) { return random.uniform() * std::pow(10.0f, 30 * random.uniform()); }

// Of rows; those of one hold NaN.
constexpr int kKinds = 10, kNanKind = 7;
bool is_nan_row(int64_t token) { return token % kKinds == kNanKind; }

void fill_row(int64_t token, float* row, int64_t cols, Random& random) {
  const auto fill = [&](auto value) { std::generate_n(row, cols, value); };
  float& last = row[cols - 1];
  switch (token % kKinds) {
    case 0: return fill([&] { return random.uniform(); });
    case 1: return fill([&] { return spanning(random); });
    case 2: return fill([&] { return random.next() % 2 ? 0.0f : -0.0f; });
    case 3: return fill([&] { return std::ldexp(random.uniform(), -125); });  // many are subnormal
    case 4: return fill([&] { return std::ldexp(random.uniform(), -14); }), void(last = 1 << 15);
    case 5: return fill([&] { return random.uniform() * 1e35f; }), void(last = -std::numeric_limits<float>::max());
    case 6: return fill([&] { return random.uniform(); }), void(last = kInfinity);
    case kNanKind: return fill([&] { return spanning(random); }), void(last = kNan);
    case 8: return fill([&] { return random.uniform(); }), void(last = 31.99999f);  // becomes the next power of two
    default: return fill([&] { return 0.0f; }), void(last = std::numeric_limits<float>::denorm_min());
  }
}

struct Expected {
  std::vector<double> y, bounds;  // [tokens, rows]
};

Expected expect(const MatrixSpec& spec, const std::vector<float>& w, const std::vector<float>& x, int64_t tokens) {
  const int64_t rows = spec.rows, cols = spec.cols, group = spec.group_size > 0 ? spec.group_size : cols;
  const double rounding = static_cast<double>(cols + 2 * ((cols + group - 1) / group) + 12) * kTensorRounding;
  const Naive naive = quantize_weights(spec, w, 0, rows);
  Expected out;
  for (int64_t t = 0; t < tokens; t++) {
    std::vector<double> input;
    double largest = 0;
    for (int64_t k = 0; k < cols; k++) {
      const float value = x[t * cols + k];
      input.push_back(std::isnan(value) ? 0 : nearest(value, Format::bf16));
      largest = std::max(largest, std::fabs(input.back()));
    }
    for (int64_t n = 0; n < rows; n++) {
      double sum = 0, total = 0, weights = 0;
      for (int64_t k = 0; k < cols; k++) {
        const double weight = naive.codes[n * cols + k] * naive.scales[n * cols + k];
        sum += input[k] * weight, total += std::fabs(input[k] * weight), weights += std::fabs(weight);
      }
      out.y.push_back(sum);
      out.bounds.push_back(rounding * total + kHeldRounding * largest * weights + kSmallestFloat);
    }
  }
  return out;
}

void check_rows(const MatrixSpec& spec, Random random) {
  constexpr int64_t kTokens = 45;
  const int64_t rows = spec.rows, cols = spec.cols;
  std::vector<float> w(static_cast<size_t>(rows * cols)), x(static_cast<size_t>(kTokens * cols));
  for (float& value : w) value = random.uniform() * (random.next() % 64 == 0 ? 20.0f : 1.0f) * 0.02f;
  for (int64_t t = 0; t < kTokens; t++) fill_row(t, &x[t * cols], cols, random);
  const Expected expected = expect(spec, w, x, kTokens);
  const Poisoned source(w);
  for (bool deterministic : {true, false}) {
    const auto matrix = kvant::cuda::make_cuda_matrix(spec, {.deterministic = deterministic});
    matrix->load_rows(0, rows, Format::fp32, source.data(), nullptr);
    std::vector<float> all;
    for (int64_t tokens : {kTokens, int64_t{32}, int64_t{17}, kFewTokens, int64_t{11}, int64_t{8}, int64_t{3}, int64_t{1}}) {
      // More come as bf16 numbers, of which infinity makes infinity.
      if (!deterministic && matrix->prepared_form(tokens).operand != Operand::fp16) continue;
      const int64_t first = std::min<int64_t>(1, kTokens - tokens);
      const std::vector<float> y = run(*matrix, x, first, tokens, nullptr);
      if (all.empty()) all = y;
      const auto name = [&](int64_t i) {
        return matrix->variant(tokens) + (deterministic ? " deterministic" : "") + " N=" + std::to_string(rows) + " K=" + std::to_string(cols) +
               " T=" + std::to_string(tokens) + ": element " + std::to_string(i) + " of a row of kind " +
               std::to_string((first + i / rows) % kKinds) + " is " + std::to_string(y[i]);
      };
      for (int64_t i = 0; i < tokens * rows; i++) {
        const int64_t j = first * rows + i;
        if (is_nan_row(j / rows)) {
          check(std::isnan(y[i]), [&] { return name(i) + " for NaN"; });
          continue;
        }
        check(std::fabs(y[i] - expected.y[j]) <= expected.bounds[j], [&] {
          return name(i) + " for " + std::to_string(expected.y[j]) + ", " + std::to_string(std::fabs(y[i] - expected.y[j]) / expected.bounds[j]) +
                 " of the bound";
        });
        if (deterministic) check(std::memcmp(&y[i], &all[j], sizeof(float)) == 0, [&] { return name(i) + " by the number of tokens"; });
      }
    }
  }
}

void test_rows() {
  constexpr int64_t kShapes[][2] = {{17, 33}, {72, 1024}, {130, 1056}};
  uint32_t seed = 20251125;
  std::printf("seed %u\n", seed);
  for (Format weights : {Format::e4m3, Format::e5m2}) {
    for (int group : {-1, -2, 32, 64, 128, 48}) {
      for (const auto& [rows, cols] : kShapes) {
        seed = seed * 1664525u + 1013904223u;
        check_rows({rows, cols, weights, group, Format::bf16, 0}, Random{seed | 1});
      }
    }
  }
  // So many features that `stream` takes eight warps to sixteen of them.
  check_rows({4240, 192, Format::e4m3, -1, Format::bf16, 0}, Random{seed | 1});
  report("few tokens of bf16 times 8-bit floats are within their bound whatever their rows span; deterministic matrices are batch-invariant");
}

// All numbers of a format are a row of a matrix whose scale is 1; unit vectors show them, in every kernel that decodes.
void test_codes() {
  for (Format weights : {Format::e4m3, Format::e5m2}) {
    const std::vector<double>& numbers = grid(weights);
    const auto cols = static_cast<int64_t>(numbers.size());
    std::vector<float> w, x(static_cast<size_t>(2 * cols * cols), 0.0f);
    for (double sign : {1.0, -1.0}) std::transform(numbers.begin(), numbers.end(), std::back_inserter(w), [&](double value) { return sign * value; });
    for (int64_t t = 0; t < 2 * cols; t++) x[t * cols + t % cols] = 1.0f;
    const Poisoned source(w);
    for (Format activation : {Format::fp32, Format::bf16, Format::fp16}) {
      for (bool deterministic : {true, false}) {
        const auto matrix = kvant::cuda::make_cuda_matrix({2, cols, weights, -1, activation, 0}, {.deterministic = deterministic});
        matrix->load_rows(0, 2, Format::fp32, source.data(), nullptr);
        for (int64_t tokens : {cols, 2 * cols}) {
          const std::vector<float> y = run(*matrix, x, 0, tokens, nullptr);
          for (int64_t i = 0; i < 2 * tokens; i++) {
            const float expected = w[i % 2 * cols + i / 2 % cols];
            check(y[i] == expected, [&] {
              return matrix->variant(tokens) + (deterministic ? " deterministic: " : ": ") + std::to_string(expected) + " is " + std::to_string(y[i]);
            });
          }
        }
      }
    }
  }
  report("every number of 8-bit floats is decoded exactly");
}

void test_forms() {
  for (Format weights : {Format::e4m3, Format::e5m2, Format::int8}) {
    for (bool deterministic : {false, true}) {
      const auto matrix = kvant::cuda::make_cuda_matrix({64, 64, weights, -1, Format::bf16, 0}, {.deterministic = deterministic});
      for (int64_t tokens : {int64_t{1}, kFewTokens, int64_t{33}, int64_t{200}, kMostSharedTokens + 1, int64_t{1000}}) {
        const kvant::cuda::PreparedForm form = matrix->prepared_form(tokens);
        const bool is_shared = matrix->variant(tokens).ends_with("warpgroup-split");
        const bool is_scaled = weights != Format::int8 && (matrix->variant(tokens).ends_with("stream") || is_shared);
        check(form.is_scaled() == is_scaled && form.operand == (is_scaled ? Operand::fp16 : Operand::bf16),
              [&] { return matrix->variant(tokens) + " takes another form"; });
        check(weights == Format::int8 || is_scaled || (!deterministic && tokens > kFewTokens),
              [&] { return matrix->variant(tokens) + " serves " + std::to_string(tokens) + " tokens"; });
        check(!is_scaled || deterministic || tokens <= kMostSharedTokens,
              [&] { return matrix->variant(tokens) + " serves " + std::to_string(tokens) + " tokens over a scale"; });
      }
    }
  }
  report("few tokens alone are held over a scale");
}

void test_limits() {
  constexpr int64_t kMostRows = 65535 * 128;
  std::string refusal;
  try {
    kvant::cuda::make_cuda_matrix({kMostRows + 1, 32, Format::int4, 32, Format::bf16, 0}, {});
  } catch (const std::invalid_argument& error) {
    refusal = error.what();
  }
  check(refusal.find("8388481 x 32; rows must be from 1 to 8388480") != std::string::npos, [&] { return "refused by: " + refusal; });
  report("more rows than a launch has blocks for are refused");
}

// An infinite scale of the last group makes infinite results, also where columns that pad the row come after it.
void test_infinite_scales() {
  constexpr int64_t kRows = 16, kCols = 320, kGroup = 64, kInfiniteRow = 3;
  const std::vector<uint8_t> ones(static_cast<size_t>(kRows * kvant::code_row_bytes(4, kCols)), 0x11);
  std::vector<float> scales(static_cast<size_t>(kvant::scale_count(kGroup, kRows, kCols)), 1.0f);
  scales[(kInfiniteRow + 1) * (kCols / kGroup) - 1] = kInfinity;
  const Poisoned codes_there(ones), scales_there(scales);
  for (Format activation : {Format::bf16, Format::int8}) {
    const auto matrix = kvant::cuda::make_cuda_matrix({kRows, kCols, Format::int4, kGroup, activation, 0}, {});
    matrix->load_codes(0, {.rows = kRows, .codes = static_cast<const uint8_t*>(codes_there.data()), .scales = scales_there.floats()}, nullptr);
    for (int64_t tokens : {1, 16, 40, 150}) {
      const std::vector<float> y = run(*matrix, std::vector<float>(static_cast<size_t>(tokens * kCols), 127.0f), 0, tokens, nullptr);
      for (int64_t i = 0; i < tokens * kRows; i++) {
        const float expected = i % kRows == kInfiniteRow ? kInfinity : 127.0f * kCols;
        check(y[i] == expected, [&] { return matrix->variant(tokens) + " row " + std::to_string(i % kRows) + " is " + std::to_string(y[i]); });
      }
    }
  }
  report("infinite scales make infinite results");
}

// So many features and columns that a block takes more iterations than it has stages, and shares columns with none or with one other.
// Whole numbers, whose sums are exact; rows repeat.
void check_ring(Format weights, Format activation, int64_t tokens) {
  constexpr int64_t kRows = 8192, kCols = 2048, kOwnRows = 61, kMost = 127;
  const int bits = weights == Format::int4 ? 4 : 8, group = bits == 4 ? 128 : -1;
  Random random{static_cast<uint32_t>(bits + tokens) | 1};
  std::vector<int> codes(static_cast<size_t>(kOwnRows * kCols));
  for (int& code : codes) code = static_cast<int>(random.next() % 15) - 7;
  std::vector<uint8_t> packed(static_cast<size_t>(kRows * kvant::code_row_bytes(bits, kCols)));
  for (int64_t i = 0; i < kRows * kCols; i++) {
    const int code = codes[i / kCols % kOwnRows * kCols + i % kCols];
    packed[i * bits / 8] |= static_cast<uint8_t>(bits == 8 ? code : (code & 15) << i % 2 * 4);
  }
  std::vector<float> x(static_cast<size_t>(tokens * kCols));
  for (float& value : x) value = static_cast<float>(static_cast<int>(random.next() % (2 * kMost + 1)) - kMost);
  for (int64_t t = 0; t < tokens; t++) x[t * kCols + t] = kMost;  // the scale of the token is 1

  const Poisoned codes_there(packed), scales_there(std::vector<float>(static_cast<size_t>(kvant::scale_count(group, kRows, kCols)), 1.0f));
  const auto matrix = kvant::cuda::make_cuda_matrix({kRows, kCols, weights, group, activation, 0}, {.library = false});
  matrix->load_codes(0, {.rows = kRows, .codes = static_cast<const uint8_t*>(codes_there.data()), .scales = scales_there.floats()}, nullptr);
  const std::vector<float> y = run(*matrix, x, 0, tokens, nullptr);
  for (int64_t t = 0; t < tokens; t++) {
    for (int64_t row = 0; row < kOwnRows; row++) {
      float sum = 0;
      for (int64_t k = 0; k < kCols; k++) sum += x[t * kCols + k] * static_cast<float>(codes[row * kCols + k]);
      for (int64_t n = row; n < kRows; n += kOwnRows) {
        check(y[t * kRows + n] == sum, [&] {
          return matrix->variant(tokens) + " T=" + std::to_string(tokens) + ": " + std::to_string(y[t * kRows + n]) + " is not " + std::to_string(sum);
        });
      }
    }
  }
}

void test_rings() {
  for (Format weights : {Format::int4, Format::int8}) {
    for (Format activation : {Format::int8, Format::bf16}) {
      for (int64_t tokens : {40, 150}) check_ring(weights, activation, tokens);
    }
  }
  report("rings of stages that wrap hold what belongs to each iteration");
}

// Values of which norms and gated products make rows that are exact: what they write is what the prepared rows would be.
void check_row_kernels(const MatrixSpec& spec, int64_t tokens) {
  const int64_t cols = spec.cols;
  Random random{static_cast<uint32_t>(cols + tokens) | 1};
  const auto matrix = kvant::cuda::make_cuda_matrix(spec, {});
  const kvant::cuda::PreparedForm form = matrix->prepared_form(tokens);
  const size_t count = static_cast<size_t>(tokens * cols);
  const auto compare = [&](const char* what, const std::vector<float>& rows, const auto& write) {
    const Poisoned input(rows), there(matrix->workspace_bytes(tokens)), here(matrix->workspace_bytes(tokens));
    matrix->prepare(input.floats(), tokens, there.data(), nullptr);
    write(matrix->prepared_at(tokens, here.data()));
    succeed(cudaDeviceSynchronize(), what);
    const std::vector<float> expected = there.download(), written = here.download();
    check(std::memcmp(expected.data(), written.data(), expected.size() * sizeof(float)) == 0,
          [&] { return std::string(what) + " writes another form of " + matrix->variant(tokens) + " for " + std::to_string(cols) + " columns"; });
  };

  // The mean of the squares is 1.
  std::vector<float> weight(static_cast<size_t>(cols)), signs(count), rows(count);
  for (float& value : weight) value = spanning(random);
  for (size_t i = 0; i < count; i++) signs[i] = random.next() % 2 ? 1.0f : -1.0f, rows[i] = signs[i] * weight[i % static_cast<size_t>(cols)];
  const Poisoned x(signs), factors(weight);
  compare("rms_norm", rows, [&](const kvant::cuda::Prepared& to) {
    kvant::cuda::rms_norm_prepared(x.floats(), nullptr, factors.floats(), tokens, 0, form, to, nullptr);
  });

  // exp(-128) is lost beside 1.
  std::vector<float> gates(2 * count);
  for (size_t i = 0; i < count; i++) {
    const size_t row = i / static_cast<size_t>(cols), column = i % static_cast<size_t>(cols), at = row * 2 * static_cast<size_t>(cols) + column;
    const float up = row == 2 ? 0.0f : spanning(random);
    gates[at] = 128, gates[at + static_cast<size_t>(cols)] = up, rows[i] = 128 * up;
  }
  const Poisoned both(gates);
  compare("gated_mul", rows, [&](const kvant::cuda::Prepared& to) {
    kvant::cuda::gated_mul_prepared(kvant::Gate::silu, {both.data(), false}, nullptr, tokens, form, to, nullptr);
  });
}

void test_row_kernels() {
  for (int64_t tokens : {5, 40, 150}) {
    for (int64_t cols : {64, 200, 1024, 1056, 2048, 4096, 10240, 14336}) {
      check_row_kernels({16, cols, Format::e4m3, -1, Format::bf16, 0}, tokens);
      check_row_kernels({16, cols, Format::int4, -1, Format::int8, 0}, tokens);
    }
  }
  report("norms and gated products write rows as rows are prepared");
}

}  // namespace

int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::printf("SKIPPED cuda_linear_span_test: no CUDA device\n");
    return 0;
  }
  test_forms();
  test_limits();
  test_codes();
  test_rows();
  test_infinite_scales();
  test_rings();
  test_row_kernels();
  if (failures > 0) std::printf("%d checks failed\n", failures);
  return failures == 0 ? 0 : 1;
}
