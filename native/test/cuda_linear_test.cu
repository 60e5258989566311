// y = x * w^T on the device: every scheme over ragged shapes and numbers of tokens against a double-precision product of
// naively quantized weights, also as bf16 and added to rows; held codes and scales against the CPU's; batch invariance where it is
// promised.
// Skips aloud where there is no device.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "coded_fixture.h"
#include "cuda_linear_fixture.h"
#include "kvant/cuda/linear.h"
#include "linear_naive.h"

namespace {

using kvant::Format;
using kvant::MatrixSpec;
using kvant::cuda::Result;
using namespace kvant_test;

// Each of K + 2 G + 12 float32 roundings (8 warps, 4 lanes, parts, scales, bias) is at most 2^-24 of the sum of magnitudes.
constexpr double kRounding = 1.0 / (1 << 24);
// Tensor cores align the products of a step and cut what falls below: up to two bits more than rounding.
constexpr double kTensorRounding = 4 * kRounding;
// FP8 tensor cores cut the products of a step below the largest of them; cuBLASLt adds the sums of few steps in float32.
constexpr double kFp8Steps = 1.0 / (1 << 9);
// Half a unit in the last of bf16's eight bits.
constexpr double kBf16Rounding = 1.0 / (1 << 8);

// The same products as bf16 and added to rows, with bias and without, where the matrix gives them. `bounds`: of the float32 result.
void check_results(const kvant::cuda::CudaMatrix& matrix, const std::vector<float>& x, int64_t tokens, const std::vector<float>& bias,
                   const float* device_bias, const std::vector<double>& expected, const std::vector<double>& bounds) {
  const auto rows = static_cast<size_t>(matrix.spec().rows), count = static_cast<size_t>(tokens) * rows;
  std::vector<float> there(count);
  for (size_t i = 0; i < count; i++) there[i] = static_cast<float>(i % 1009) - 504.0f;
  for (Result result : {Result::bf16, Result::added}) {
    for (bool has_bias : {false, true}) {
      if (!matrix.gives(result, tokens, has_bias)) continue;
      const bool adds = result == Result::added;
      const std::vector<float> y = run(matrix, x, 0, tokens, has_bias ? device_bias : nullptr, result, adds ? there : std::vector<float>());
      double worst = 0;
      size_t at = 0;
      const auto wanted = [&](size_t i) { return expected[i] - (has_bias ? 0 : bias[i % rows]) + (adds ? there[i] : 0); };
      for (size_t i = 0; i < count; i++) {
        const double sum = std::fabs(wanted(i));
        const double rounding = adds ? kRounding * (2 * std::fabs(there[i]) + sum) : kBf16Rounding * (sum + bounds[i]);
        const double ratio = std::fabs(y[i] - wanted(i)) / (bounds[i] + rounding);
        if (!(ratio <= worst)) worst = std::isnan(ratio) ? 1e30 : ratio, at = i;
      }
      check(worst <= 1, [&] {
        return matrix.variant(tokens) + (adds ? " added" : " as bf16") + (has_bias ? " with bias" : "") + " N=" + std::to_string(rows) + " K=" +
               std::to_string(matrix.spec().cols) + " T=" + std::to_string(tokens) + ": element " + std::to_string(at) + " is " +
               std::to_string(y[at]) + " for " + std::to_string(wanted(at)) + ", " + std::to_string(worst) + " of the bound";
      });
    }
  }
}

std::vector<MatrixSpec> schemes() {
  std::vector<MatrixSpec> out;
  for (Format weights : {Format::fp32, Format::bf16, Format::fp16}) {
    for (Format activation : {Format::fp32, Format::bf16, Format::fp16}) out.push_back({0, 0, weights, 0, activation, 0});
  }
  for (Format weights : {Format::int8, Format::int4, Format::e4m3, Format::e5m2, Format::e2m1}) {
    for (int group : {-1, -2, 32, 64, 128, 48}) {
      for (Format activation : {Format::fp32, Format::bf16, Format::fp16, Format::e4m3, Format::int8}) {
        if (activation == Format::int8 && weights != Format::int8 && weights != Format::int4) continue;
        out.push_back({0, 0, weights, group, activation, 0});
        if (activation == Format::int8) out.push_back({0, 0, weights, group, activation, 0.02f});
        if (activation == Format::e4m3) out.push_back({0, 0, weights, group, activation, 0.01f});
      }
    }
  }
  for (Format activation : {Format::fp32, Format::bf16, Format::fp16, Format::e4m3, Format::int8}) {
    for (Format weights : {Format::int8, Format::int4}) {
      for (int group : {-1, 32, 128, 48}) out.push_back({0, 0, weights, group, activation, 0, Scales::affine});
    }
    if (activation == Format::int8) continue;
    out.push_back({0, 0, Format::e2m1, 32, activation, 0, Scales::e8m0});
    out.push_back({0, 0, Format::e2m1, 16, activation, 0, Scales::e4m3});
  }
  return out;
}

void check_products(MatrixSpec spec, Random random, int64_t most_tokens) {
  const int64_t rows = spec.rows, cols = spec.cols;
  std::vector<float> w(static_cast<size_t>(rows * cols)), x(static_cast<size_t>(most_tokens * cols)), bias(static_cast<size_t>(rows));
  for (float& value : w) value = random.uniform() * (random.next() % 64 == 0 ? 20.0f : 1.0f) * 0.05f;
  for (float& value : x) value = random.uniform() * (random.next() % 64 == 0 ? 20.0f : 1.0f);
  for (float& value : bias) value = random.uniform();
  if (rows > 2) std::fill_n(w.begin() + cols, cols, 0.0f);  // a row of zeros
  std::fill_n(x.begin() + 2 * cols, cols, 0.0f);            // a token of zeros

  const int64_t first_part = rows / 3;  // two parts that share a tile
  Naive naive = quantize_weights(spec, w, 0, first_part);
  const Naive rest = quantize_weights(spec, w, first_part, rows - first_part);
  for (size_t i = static_cast<size_t>(first_part * cols); i < w.size(); i++) naive.codes[i] = rest.codes[i], naive.scales[i] = rest.scales[i];
  const bool scaled = spec.activation == Format::int8 || spec.activation == Format::e4m3;
  std::vector<double> expected(static_cast<size_t>(most_tokens * rows)), magnitude(expected.size()), weights(w.size());
  for (size_t i = 0; i < w.size(); i++) weights[i] = naive.codes[i] * naive.scales[i];
  for (int64_t t = 0; t < most_tokens; t++) {
    const float scale = !scaled ? 1.0f : spec.activation_scale > 0 ? spec.activation_scale : absmax_scale(&x[t * cols], cols, spec.activation);
    std::vector<double> input(static_cast<size_t>(cols));
    for (int64_t k = 0; k < cols; k++) {
      const float value = x[t * cols + k];
      input[k] = spec.activation == Format::fp32 ? value : scaled ? quantized(value, scale, spec.activation) * scale : nearest(value, spec.activation);
    }
    for (int64_t n = 0; n < rows; n++) {
      double sum = bias[n], total = std::fabs(bias[n]);
      for (int64_t k = 0; k < cols; k++) {
        const double term = input[k] * weights[n * cols + k];
        sum += term, total += std::fabs(term);
      }
      expected[t * rows + n] = sum, magnitude[t * rows + n] = total;
    }
  }

  const int64_t group = spec.group_size > 0 ? std::min<int64_t>(spec.group_size, cols) : cols;
  const double roundings = static_cast<double>(cols + 2 * ((cols + group - 1) / group) + 12);
  const Poisoned source(w), device_bias(bias);
  for (const auto& [deterministic, library] : {std::pair(false, true), std::pair(false, false), std::pair(true, true)}) {
    const auto matrix = kvant::cuda::make_cuda_matrix(spec, {.deterministic = deterministic, .library = library});
    if (!deterministic && library && matrix->variant(most_tokens).find("cublaslt") == std::string::npos) continue;  // the same as without
    const Poisoned second(std::vector<float>(w.begin() + first_part * cols, w.end()));
    matrix->load_rows(0, first_part, Format::fp32, source.data(), nullptr);
    matrix->load_rows(first_part, rows - first_part, Format::fp32, second.data(), nullptr);
    std::vector<float> all;
    for (int64_t tokens : {most_tokens, int64_t{1}, int64_t{3}, int64_t{8}, int64_t{11}, int64_t{16}, int64_t{17}, int64_t{33}, int64_t{40}, int64_t{64}, int64_t{65}, int64_t{133}, int64_t{200}, int64_t{256}}) {
      if (tokens > most_tokens) continue;
      const int64_t first = tokens == most_tokens ? 0 : std::min<int64_t>(1, most_tokens - tokens);
      const std::vector<float> y = run(*matrix, x, first, tokens, device_bias.floats());
      if (all.empty()) all = y;
      const bool tensor = matrix->variant(tokens).find("cuda-fp32") == std::string::npos;
      const bool fp8 = matrix->prepared_form(tokens).codes;
      const double rounding = roundings * (tensor ? kTensorRounding : kRounding) + (fp8 ? kFp8Steps : 0);
      double worst = 0;
      int64_t at = 0;
      bool same = true;
      for (int64_t i = 0; i < tokens * rows; i++) {
        const int64_t j = first * rows + i;
        const double bound = rounding * magnitude[j] + 1e-44;
        const double ratio = std::fabs(y[i] - expected[j]) / bound;
        if (!(ratio <= worst)) worst = std::isnan(ratio) ? 1e30 : ratio, at = i;
        same = same && std::memcmp(&y[i], &all[j], sizeof(float)) == 0;
      }
      const auto name = [&] {
        return matrix->variant(tokens) + (spec.activation_scale > 0 ? " static" : "") + (deterministic ? " deterministic" : "") + " N=" +
               std::to_string(rows) + " K=" + std::to_string(cols) + " T=" + std::to_string(tokens);
      };
      check(worst <= 1, [&] {
        return name() + ": element " + std::to_string(at) + " is " + std::to_string(y[at]) + " for " +
               std::to_string(expected[first * rows + at]) + ", " + std::to_string(worst) + " of the bound";
      });
      check(!deterministic || same, [&] { return name() + ": bits depend on the number of tokens"; });
      if (tokens < most_tokens) continue;
      std::vector<double> bounds(expected.size());
      for (size_t i = 0; i < bounds.size(); i++) bounds[i] = rounding * magnitude[i] + 1e-44;
      check_results(*matrix, x, tokens, bias, device_bias.floats(), expected, bounds);
    }
  }
}

void test_products() {
  const int64_t shapes[][2] = {{1, 1}, {17, 33}, {172, 200}, {130, 1056}};
  constexpr int64_t kLibraryShape[] = {144, 416};
  uint32_t seed = 20240607;
  std::printf("seed %u\n", seed);
  const auto check_shape = [&](MatrixSpec spec, int64_t rows, int64_t cols, int64_t tokens) {
    spec.rows = rows, spec.cols = cols;
    check_products(spec, Random{seed | 1}, tokens);
  };
  for (const MatrixSpec& scheme : schemes()) {
    for (const auto& shape : shapes) {
      seed = seed * 1664525u + 1013904223u;
      check_shape(scheme, shape[0], shape[1], 133);
    }
    MatrixSpec spec = scheme;
    spec.rows = kLibraryShape[0], spec.cols = kLibraryShape[1];
    constexpr int64_t kManyTokens = 645;
    if (kvant::cuda::make_cuda_matrix(spec, {})->variant(kManyTokens).ends_with("cublaslt")) check_products(spec, Random{seed | 1}, kManyTokens);
  }
  // More rows than a slab of decoded weights, more tokens than INT8 sums are taken at once.
  check_products({4112, 64, Format::int8, -1, Format::bf16, 0}, Random{seed | 1}, 261);
  check_products({4112, 64, Format::e4m3, -1, Format::fp16, 0}, Random{seed | 1}, 261);
  check_products({16, 64, Format::int8, -1, Format::int8, 0}, Random{seed | 1}, 2100);
  // Results for many tokens that are not float32, of our own kernels too.
  for (const MatrixSpec& scheme : {MatrixSpec{0, 0, Format::int8, -1, Format::int8, 0}, MatrixSpec{0, 0, Format::int8, 128, Format::int8, 0},
                                   MatrixSpec{0, 0, Format::int4, 32, Format::int8, 0}, MatrixSpec{0, 0, Format::int4, 128, Format::bf16, 0},
                                   MatrixSpec{0, 0, Format::e4m3, -1, Format::e4m3, 0}, MatrixSpec{0, 0, Format::e4m3, -2, Format::e4m3, 0.01f},
                                   MatrixSpec{0, 0, Format::e4m3, -1, Format::bf16, 0}, MatrixSpec{0, 0, Format::bf16, 0, Format::bf16, 0},
                                   MatrixSpec{0, 0, Format::fp16, 0, Format::fp16, 0}, MatrixSpec{0, 0, Format::e2m1, 16, Format::bf16, 0, Scales::e4m3}}) {
    constexpr int kShapes[][3] = {{172, 200, 300}, {272, 192, 301}, {144, 128, 641}, {16, 64, 4099}};
    for (const auto& [rows, cols, tokens] : kShapes) check_shape(scheme, rows, cols, tokens);
  }
  // So many columns that two to eight blocks share them (of 132 multiprocessors), whole shares and others; the last group and chunk
  // are not whole.
  for (const MatrixSpec& scheme : {MatrixSpec{0, 0, Format::int4, 128, Format::int8, 0}, MatrixSpec{0, 0, Format::int4, 32, Format::int8, 0, Scales::affine},
                                   MatrixSpec{0, 0, Format::int8, -1, Format::int8, 0.02f}, MatrixSpec{0, 0, Format::int4, 64, Format::bf16, 0},
                                   MatrixSpec{0, 0, Format::int8, -1, Format::fp16, 0}, MatrixSpec{0, 0, Format::e4m3, -1, Format::bf16, 0},
                                   MatrixSpec{0, 0, Format::e4m3, 48, Format::e4m3, 0}, MatrixSpec{0, 0, Format::e2m1, 32, Format::bf16, 0, Scales::e8m0},
                                   MatrixSpec{0, 0, Format::e2m1, 16, Format::fp16, 0, Scales::e4m3}}) {
    for (int64_t cols : {2600, 3200, 3700, 4168}) check_shape(scheme, 144, cols, 133);
    for (const auto& [rows, cols] : {std::pair(272, 2200), std::pair(2200, 1400)}) check_shape(scheme, rows, cols, 260);
  }
  // So many features that `stream` takes eight warps to sixteen of them, not sixteen (of up to 132 multiprocessors).
  for (const MatrixSpec& scheme : {MatrixSpec{0, 0, Format::bf16, 0, Format::bf16, 0}, MatrixSpec{0, 0, Format::int8, -1, Format::int8, 0},
                                   MatrixSpec{0, 0, Format::e4m3, -1, Format::bf16, 0}, MatrixSpec{0, 0, Format::int4, 128, Format::int8, 0},
                                   MatrixSpec{0, 0, Format::int4, 32, Format::bf16, 0, Scales::affine},
                                   MatrixSpec{0, 0, Format::e2m1, 16, Format::fp16, 0, Scales::e4m3}}) {
    check_shape(scheme, 4240, 1056, 40);
  }
  report("every scheme, shape and number of tokens is within its bound; deterministic matrices are batch-invariant");
}

// Unit vectors as activations make the products show every held weight: y = code * scale, exactly.
std::vector<float> units(int64_t cols) {
  std::vector<float> out(static_cast<size_t>(cols * cols), 0.0f);
  for (int64_t k = 0; k < cols; k++) out[k * cols + k] = 1.0f;
  return out;
}

std::vector<float> held_on_cpu(const MatrixSpec& spec, Format dtype, const void* source, kvant::ThreadPool& pool) {
  const auto matrix = kvant::make_matrix(spec, kvant::Tier::scalar);
  matrix->load_rows(0, spec.rows, dtype, source, pool);
  const std::vector<float> x = units(spec.cols);
  void* prepared = std::aligned_alloc(64, (matrix->prepared_bytes(spec.cols) + 63) / 64 * 64);
  matrix->prepare(x.data(), spec.cols, spec.cols, 0, spec.cols, prepared);
  std::vector<float> y(static_cast<size_t>(spec.cols * spec.rows));
  matrix->run(prepared, spec.cols, nullptr, y.data(), spec.rows, 0, matrix->block_count());
  std::free(prepared);
  return y;
}

struct Held {
  Format format;
  int group;
  Scales scales = Scales::fp32;
};

std::vector<Held> held_formats() {
  std::vector<Held> out;
  for (Format format : {Format::fp32, Format::bf16, Format::fp16}) out.push_back({format, 0});
  for (const auto& [format, group, scales] : kvant_test::coded_formats()) out.push_back({format, group, scales});
  return out;
}

void test_codes() {
  kvant::ThreadPool pool(2);
  Random random{77};
  for (const auto& [format, group, scales] : held_formats()) {
    for (int64_t cols : {172, 20}) {
      for (Format dtype : {Format::fp32, Format::bf16, Format::fp16}) {
        const MatrixSpec spec{37, cols, format, group, Format::fp32, 0, scales};
        std::vector<float> w(static_cast<size_t>(spec.rows * spec.cols));
        const float limit = std::min(kvant::max_value(format), 60000.0f);
        for (size_t i = 0; i < w.size(); i++) {
          const int64_t row = static_cast<int64_t>(i) / spec.cols, column = static_cast<int64_t>(i) % spec.cols;
          // The largest value alone makes the scale 1; eighths are then ties of every format, small ones of subnormals.
          const float tie = static_cast<float>(random.next() % 4096) / 8.0f * std::ldexp(1.0f, -static_cast<int>(random.next() % 14));
          w[i] = row == 0 ? 0.0f : row < 18 ? column % 7 == 0 ? limit : std::fmin(tie, limit) * (random.next() % 2 ? 1.0f : -1.0f)
                                            : random.uniform() * static_cast<float>(row * row);
          if (dtype != Format::fp32) w[i] = static_cast<float>(nearest(w[i], dtype));
        }
        std::vector<uint16_t> half(w.size());
        for (size_t i = 0; dtype != Format::fp32 && i < w.size(); i++) {
          const std::vector<double>& numbers = grid(dtype);
          half[i] = static_cast<uint16_t>((std::lower_bound(numbers.begin(), numbers.end(), std::fabs(w[i])) - numbers.begin()) |
                                          (std::signbit(w[i]) ? 0x8000 : 0));
        }
        const void* host = dtype == Format::fp32 ? static_cast<const void*>(w.data()) : half.data();
        const std::vector<float> expected = held_on_cpu(spec, dtype, host, pool);
        const Poisoned wide(w), narrow(half);
        const auto matrix = kvant::cuda::make_cuda_matrix(spec, {});
        matrix->load_rows(0, spec.rows, dtype, dtype == Format::fp32 ? wide.data() : narrow.data(), nullptr);
        const std::vector<float> held = run(*matrix, units(spec.cols), 0, spec.cols, nullptr);
        size_t wrong = 0, first = 0;
        for (size_t i = held.size(); i-- > 0;) {
          if (!(held[i] == expected[i])) wrong++, first = i;
        }
        check(wrong == 0, [&] {
          const size_t n = first % spec.rows, k = first / spec.rows;
          return matrix->variant(1) + " from " + std::to_string(kvant::bits(dtype)) + " bits: " + std::to_string(wrong) + " weights differ; row " +
                 std::to_string(n) + " column " + std::to_string(k) + " of " + std::to_string(w[n * spec.cols + k]) + " is " +
                 std::to_string(held[first]) + ", on the CPU " + std::to_string(expected[first]);
        });
      }
    }
  }
  report("held codes and scales are those of the CPU");
}

// Arrays of a CodedMatrix on the device.
struct CodedOnDevice {
  explicit CodedOnDevice(const CodedMatrix& from)
      : codes(from.codes), scales(from.scales), scale_codes(from.scale_codes), zeros(from.zeros), host(from) {}

  kvant::CodedRows rows(int64_t count) const {
    kvant::CodedRows out = host.rows(count);
    out.codes = static_cast<const uint8_t*>(codes.data());
    if (out.scales != nullptr) out.scales = scales.floats();
    if (out.scale_codes != nullptr) out.scale_codes = static_cast<const uint8_t*>(scale_codes.data());
    if (out.zeros != nullptr) out.zeros = static_cast<const int8_t*>(zeros.data());
    return out;
  }

  Poisoned codes, scales, scale_codes, zeros;
  const CodedMatrix& host;
};

void test_loaded_codes() {
  Random random{99};
  for (const auto& [format, group, scales] : coded_formats()) {
    for (int64_t cols : {172, 21}) {
      const MatrixSpec spec{37, cols, format, group, Format::fp32, 0, scales};
      // Two parts that share a tile.
      MatrixSpec first = spec, second = spec;
      first.rows = 13, second.rows = 24;
      const CodedMatrix top = random_codes(first, random), rest = random_codes(second, random);
      std::vector<float> expected = top.values;
      expected.insert(expected.end(), rest.values.begin(), rest.values.end());
      const CodedOnDevice top_there(top), rest_there(rest);
      const auto matrix = kvant::cuda::make_cuda_matrix(spec, {});
      matrix->load_codes(13, rest_there.rows(24), nullptr);
      matrix->load_codes(0, top_there.rows(13), nullptr);
      const std::vector<float> held = run(*matrix, units(cols), 0, cols, nullptr);
      for (int64_t n = 0; n < spec.rows; n++) {
        for (int64_t k = 0; k < cols; k++) {
          const float got = held[static_cast<size_t>(k * spec.rows + n)], wanted = expected[static_cast<size_t>(n * cols + k)];
          check(got == wanted, [&] {
            return matrix->variant(1) + " row " + std::to_string(n) + " column " + std::to_string(k) + " holds " + std::to_string(got) +
                   " for codes of " + std::to_string(wanted);
          });
        }
      }
    }
  }
  report("codes and scales are held as they arrive");
}

// The lowest code everywhere, the codes of zero the highest, and the largest activation codes: the largest sums of products, on
// every kernel for few tokens and for many.
void test_lowest_codes() {
  constexpr int64_t kRows = 144, kCols = 256;
  for (Format format : {Format::int8, Format::int4}) {
    for (Scales scales : {Scales::fp32, Scales::affine}) {
      for (int group : {-1, 32}) {
        const int high = format == Format::int8 ? 127 : 7, zero = scales == Scales::affine ? high : 0;
        CodedMatrix lowest;
        lowest.codes.assign(static_cast<size_t>(kRows * kvant::code_row_bytes(kvant::bits(format), kCols)), format == Format::int8 ? 0x80 : 0x88);
        lowest.scales.assign(static_cast<size_t>(kvant::scale_count(group, kRows, kCols)), 1.0f);
        if (scales == Scales::affine) lowest.zeros.assign(lowest.scales.size(), static_cast<int8_t>(high));
        const CodedOnDevice there(lowest);
        for (bool library : {false, true}) {
          for (int64_t tokens : {1, 19, 100, 300}) {
            const auto matrix = kvant::cuda::make_cuda_matrix({kRows, kCols, format, group, Format::int8, 0, scales}, {.library = library});
            matrix->load_codes(0, there.rows(kRows), nullptr);
            const std::vector<float> y = run(*matrix, std::vector<float>(static_cast<size_t>(tokens * kCols), 127.0f), 0, tokens, nullptr);
            const float expected = 127.0f * static_cast<float>((-high - 1 - zero) * kCols);
            for (float got : y) {
              check(got == expected, [&] {
                return matrix->variant(tokens) + " sums the lowest codes to " + std::to_string(got) + ", not " + std::to_string(expected);
              });
            }
          }
        }
      }
    }
  }
  report("sums of products of the lowest codes are exact");
}

void test_not_finite() {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  for (Format format : {Format::int8, Format::int4, Format::e4m3, Format::e5m2, Format::e2m1}) {
    for (Format activation : {Format::fp32, Format::bf16, Format::fp16}) {
      std::vector<float> w(128, 1.0f);
      w[3] = kNan;
      w[64 + 40] = kInfinity;
      const Poisoned source(w);
      const auto matrix = kvant::cuda::make_cuda_matrix({2, 64, format, 32, activation, 0}, {});
      matrix->load_rows(0, 2, Format::fp32, source.data(), nullptr);
      const std::vector<float> y = run(*matrix, std::vector<float>(64, 1.0f), 0, 1, nullptr);
      if (format == Format::e4m3 || format == Format::e5m2) {
        check(std::isnan(y[0]), [&] { return matrix->variant(1) + " loses a NaN weight"; });
      } else {
        check(std::fabs(y[0] - 63.0f) < 1e-3f, [&] { return matrix->variant(1) + " does not take a NaN weight for 0: " + std::to_string(y[0]); });
      }
      check(y[1] > 3e38f, [&] { return matrix->variant(1) + " does not saturate an infinite weight: " + std::to_string(y[1]); });
    }
  }
  const Poisoned ones(std::vector<float>(8, 1.0f));
  const auto matrix = kvant::cuda::make_cuda_matrix({1, 8, Format::int8, -1, Format::int8, 1.0f}, {});
  matrix->load_rows(0, 1, Format::fp32, ones.data(), nullptr);
  const float sum = run(*matrix, {kNan, 1, -1, 127, 0.5f, 1.5f, kInfinity, 2}, 0, 1, nullptr)[0];
  check(std::fabs(sum - 258.0f) < 1e-3f, [&] { return matrix->variant(1) + " codes special activations to a sum of " + std::to_string(sum); });
  report("NaN and infinity in weights and activations");
}

template <class Body>
void check_refused(const char* expected, const Body& body) {
  try {
    body();
  } catch (const std::exception& error) {
    check(std::strstr(error.what(), expected) != nullptr, [&] { return std::string("\"") + error.what() + "\" does not say \"" + expected + "\""; });
    return;
  }
  check(false, [&] { return std::string("accepted, not refused with \"") + expected + "\""; });
}

void test_refusals() {
  const auto make = [](MatrixSpec spec) { return [spec] { kvant::cuda::make_cuda_matrix(spec, {}); }; };
  check_refused("0 x 8", make({0, 8, Format::fp32, 0, Format::fp32, 0}));
  check_refused("int8 weights with group size 0", make({8, 8, Format::int8, 0, Format::fp32, 0}));
  check_refused("e4m3-channel x int8", make({8, 8, Format::e4m3, -1, Format::int8, 0}));
  check_refused("e4m3-channel-affine x bf16", make({8, 8, Format::e4m3, -1, Format::bf16, 0, Scales::affine}));
  check_refused("zero points are per row or group", make({8, 8, Format::int8, -2, Format::bf16, 0, Scales::affine}));
  check_refused("it is always 32", make({8, 8, Format::e2m1, 16, Format::bf16, 0, Scales::e8m0}));
  check_refused("it is always 16", make({8, 8, Format::e2m1, 32, Format::bf16, 0, Scales::e4m3}));
  check_refused("bf16 x e4m3", make({8, 8, Format::bf16, 0, Format::e4m3, 0}));
  check_refused("activation scale -1", make({8, 8, Format::int8, -1, Format::int8, -1}));
  check_refused("only int8 and e4m3 take one", make({8, 8, Format::int8, -1, Format::bf16, 1}));
  check_refused("int32 sums hold", make({1, 200000, Format::int8, -1, Format::int8, 0}));
  report("impossible schemes are refused by name");
}

}  // namespace

int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::printf("SKIPPED cuda_linear_test: no CUDA device\n");
    return 0;
  }
  test_refusals();
  test_codes();
  test_loaded_codes();
  test_lowest_codes();
  test_not_finite();
  test_products();
  if (failures > 0) std::printf("%d checks failed\n", failures);
  return failures == 0 ? 0 : 1;
}
