// Products and AbsMax quantization: every tier and number of threads has the bits of the plain loops here.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "cpu/linear/float_codes.h"
#include "cpu/linear/kernel_table.h"
#include "cpu/quantize/add_product.h"
#include "cpu/quantize/quantize_absmax.h"
#include "kvant/tier.h"

using namespace kvant;

namespace {

constexpr unsigned kSeed = 61001;

struct Matrix {
  std::vector<double> values;
  int64_t row_stride, col_stride;
};

Matrix random_matrix(std::mt19937& random, int64_t rows, int64_t cols, bool transposed) {
  Matrix matrix{std::vector<double>(static_cast<size_t>(rows * cols)), transposed ? 1 : cols, transposed ? rows : 1};
  std::normal_distribution<double> normal;
  for (double& value : matrix.values) value = normal(random);
  return matrix;
}

std::vector<double> plain_product(const Matrix& target, const Matrix& left, const Matrix& right, const Product& shape) {
  std::vector<double> result = target.values;
  for (int64_t i = 0; i < shape.rows; i++) {
    const int64_t cols = shape.lower_only ? std::min(shape.cols, (i / 64 + 1) * 64) : shape.cols;
    for (int64_t j = 0; j < cols; j++) {
      double& element = result[static_cast<size_t>(i * target.row_stride + j * target.col_stride)];
      for (int64_t first = 0; first < shape.depth; first += 256) {
        double sum = 0;
        for (int64_t p = first; p < std::min(first + 256, shape.depth); p++) {
          sum += left.values[static_cast<size_t>(i * left.row_stride + p * left.col_stride)] *
                 right.values[static_cast<size_t>(p * right.row_stride + j * right.col_stride)];
        }
        element += shape.sign * sum;
      }
    }
  }
  return result;
}

void test_products(Tier tier, ThreadPool& pool) {
  std::mt19937 random(kSeed);
  ProductScratch scratch;
  const int64_t shapes[][3] = {{1, 1, 1}, {5, 3, 300}, {64, 64, 256}, {65, 130, 257}, {200, 190, 515}};
  for (const auto& [rows, cols, depth] : shapes) {
    for (int way = 0; way < 8; way++) {
      Matrix target = random_matrix(random, rows, cols, way & 1);
      const Matrix left = random_matrix(random, rows, depth, way & 2), right = random_matrix(random, depth, cols, way & 4);
      const Product product{
          .target = {target.values.data(), target.row_stride, target.col_stride},
          .left = {left.values.data(), true, left.row_stride, left.col_stride},
          .right = {right.values.data(), true, right.col_stride, right.row_stride},
          .rows = rows,
          .cols = cols,
          .depth = depth,
          .sign = way % 3 == 0 ? -1.0 : 1.0,
          .lower_only = way > 3,
      };
      const std::vector<double> expected = plain_product(target, left, right, product);
      add_product(product, quantize_kernels(tier), pool, scratch);
      CHECK(target.values == expected);
    }
  }
}

uint32_t plain_code(const std::string& name, float quotient, float limit) {
  if (name == "e4m3") return linear::encode_float(quotient, linear::float_definition(Format::e4m3));
  if (name == "e5m2") return linear::encode_float(quotient, linear::float_definition(Format::e5m2));
  if (name == "e2m1") return linear::encode_float(quotient, linear::float_definition(Format::e2m1));
  if (std::isnan(quotient)) return 0;
  return static_cast<uint32_t>(static_cast<int>(std::nearbyint(std::clamp(quotient, -limit, limit))));
}

// Codes and scales of every group against the plain formula. `group_size` as in AbsMaxQuantization, without -2.
void check_quantization(const std::string& name, const std::vector<float>& values, int64_t cols, int64_t group_size, Tier tier,
                        ThreadPool& pool) {
  const int64_t rows = static_cast<int64_t>(values.size()) / cols;
  AbsMaxQuantization matrix{values.data(), rows, cols, code_format(name), group_size, nullptr, nullptr};
  std::vector<uint8_t> codes(static_cast<size_t>(rows * matrix.row_bytes()));
  std::vector<float> scales(static_cast<size_t>(matrix.scale_count()));
  matrix.codes = codes.data();
  matrix.scales = scales.data();
  quantize_absmax(matrix, quantize_kernels(tier), pool);
  const float limit = matrix.format->limit;
  const bool bytes = matrix.format->stored_bits == 8;
  const int64_t group_cols = group_size < 0 ? cols : group_size;
  const float* next_scale = scales.data();
  for (int64_t row = 0; row < rows; row++) {
    const float* const from = values.data() + row * cols;
    const uint8_t* const row_codes = codes.data() + row * matrix.row_bytes();
    for (int64_t begin = 0; begin < cols; begin += group_cols) {
      const int64_t end = std::min(begin + group_cols, cols);
      float largest = 0;
      for (int64_t i = begin; i < end; i++) largest = std::fabs(from[i]) > largest ? std::fabs(from[i]) : largest;
      const float scale = std::min(largest, max_value(Format::fp32)) / limit;
      CHECK(*next_scale++ == scale);
      for (int64_t i = begin; i < end; i++) {
        const uint32_t code = scale == 0 ? 0 : plain_code(name, from[i] / scale, limit);
        if (bytes) CHECK(row_codes[i] == (code & 255));
        else CHECK((row_codes[i / 2] >> (i % 2 * 4) & 15) == (code & 15));
      }
    }
    if (!bytes && cols % 2 != 0) CHECK(row_codes[cols / 2] >> 4 == 0);
  }
}

constexpr const char* kCodeFormatNames[] = {"int8", "int4", "int3", "int2", "e4m3", "e5m2", "e2m1"};

// Scales of many magnitudes, so that both ways of dividing are taken, and values that are no numbers.
void test_codes(Tier tier, ThreadPool& pool) {
  std::mt19937 random(kSeed + 1);
  std::normal_distribution<float> normal;
  constexpr int64_t kRows = 320;
  const std::pair<int64_t, std::vector<int64_t>> group_sizes[] = {{1037, {-1, 7, 32, 128}}, {1024, {-1, 64, 512}}};
  for (const auto& [cols, sizes] : group_sizes) {
    std::vector<float> values(static_cast<size_t>(kRows * cols));
    for (int64_t i = 0; i < kRows * cols; i++) {
      values[static_cast<size_t>(i)] = std::ldexp(normal(random), static_cast<int>(i / cols % 250) - 125);
    }
    values[3] = INFINITY;
    values[static_cast<size_t>(cols + 5)] = -NAN;
    values[static_cast<size_t>(2 * cols)] = -0.0f;
    std::fill_n(values.begin() + 200 * cols + 64, 32, 0.0f);
    for (const char* name : kCodeFormatNames) {
      for (int64_t group_size : sizes) check_quantization(name, values, cols, group_size, tier, pool);
    }
  }
  CHECK(code_format("bf16") == nullptr);
}

// Halfway between the number of `code` and that of the next.
float border_above(const std::string& name, int code) {
  const auto middle = [code](Format format) {
    const uint32_t low = static_cast<uint32_t>(code);
    return (linear::decode_float(low, format) + linear::decode_float(low + 1, format)) / 2;
  };
  if (name == "e4m3") return middle(Format::e4m3);
  if (name == "e5m2") return middle(Format::e5m2);
  if (name == "e2m1") return middle(Format::e2m1);
  return static_cast<float>(code) + 0.5f;
}

// Values within two last places of a border between codes, under scales of random significands.
void test_borders(Tier tier, ThreadPool& pool) {
  std::mt19937 random(kSeed + 2);
  constexpr int64_t kRows = 128, kCols = 1024;
  const std::pair<const char*, int> largest_codes[] = {{"int8", 127},  {"int4", 7},    {"int3", 3}, {"int2", 1},
                                                       {"e4m3", 0x7e}, {"e5m2", 0x7b}, {"e2m1", 7}};
  for (const auto& [name, largest_code] : largest_codes) {
    const float limit = code_format(name)->limit;
    std::vector<float> values(kRows * kCols);
    for (size_t group : {32, 64}) {
      for (size_t begin = 0; begin < values.size(); begin += group) {
        values[begin] = limit * (1 + static_cast<float>(random() >> 9) * 0x1p-23f);
        const float scale = values[begin] / limit;
        for (size_t i = begin + 1; i < begin + group; i++) {
          float value = border_above(name, static_cast<int>(random() % static_cast<unsigned>(largest_code))) * scale;
          for (int steps = static_cast<int>(random() % 5) - 2; steps != 0; steps -= steps > 0 ? 1 : -1) {
            value = std::nextafter(value, steps > 0 ? INFINITY : 0.0f);
          }
          values[i] = random() % 2 == 0 ? value : -value;
        }
      }
      check_quantization(name, values, kCols, static_cast<int64_t>(group), tier, pool);
    }
  }
}

// Weights that are quantized while they are loaded have the same scales.
void test_largest_magnitude(Tier tier) {
  const std::vector<float> values[] = {{1, -INFINITY, 2}, {3.4e38f, 1}, {-3.402823466e38f, NAN}, {NAN}, {}};
  const float expected[] = {3.402823466e38f, 3.4e38f, 3.402823466e38f, 0, 0};
  for (size_t i = 0; i < std::size(values); i++) {
    const int64_t count = static_cast<int64_t>(values[i].size());
    CHECK(quantize_kernels(tier).absmax(values[i].data(), count) == expected[i]);
    CHECK(linear::linear_kernels(tier).absmax(values[i].data(), count) == expected[i]);
  }
}

}  // namespace

int main() {
  for (Tier tier : present_tiers()) test_largest_magnitude(tier);
  for (int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    for (Tier tier : present_tiers()) {
      test_products(tier, pool);
      test_codes(tier, pool);
      test_borders(tier, pool);
    }
  }
  return 0;
}
