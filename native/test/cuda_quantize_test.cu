// What quantizers compute with on a device: float64 products of views and batches, the inverse factor of Hessians of awkward sizes,
// GPTQ's pass over columns against the plain algorithm, and figures of activations, each beside a naive loop in double precision.
// The methods as a whole are compared with packages/quantizers in scripts/gpu/test-quantize.ts.
// Skips aloud where there is no device.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/device.h"
#include "cuda/quantize/double_product.h"
#include "cuda/quantize/inverse_factor.h"
#include "cuda/quantize/round_columns.h"
#include "cuda_check.h"
#include "kvant/cuda.h"
#include "kvant/cuda/calibration.h"
#include "kvant/cuda/linear.h"

namespace {

using kvant::cuda::DeviceMemory;
using namespace kvant::cuda::quantize;
using kvant_test::succeed;

// Of float64 sums of some hundred terms, relative to the largest.
constexpr double kSumTolerance = 1e-12;

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  // Roughly normal.
  double normal() {
    double sum = 0;
    for (int i = 0; i < 12; i++) sum += static_cast<double>(next() >> 11) * 0x1p-53;
    return sum - 6;
  }
  std::vector<double> normals(int64_t count) {
    std::vector<double> values(static_cast<size_t>(count));
    for (double& value : values) value = normal();
    return values;
  }

 private:
  uint64_t next() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u, z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  uint64_t state_;
};

template <class Value>
DeviceMemory upload(const std::vector<Value>& values) {
  DeviceMemory memory(values.size() * sizeof(Value), "a test");
  succeed(cudaMemcpy(memory.data(), values.data(), memory.bytes(), cudaMemcpyHostToDevice), "upload");
  return memory;
}

template <class Value>
std::vector<Value> download(const DeviceMemory& memory) {
  std::vector<Value> values(memory.bytes() / sizeof(Value));
  succeed(cudaMemcpy(values.data(), memory.data(), memory.bytes(), cudaMemcpyDeviceToHost), "download");
  return values;
}

void check_close(const std::string& what, const std::vector<double>& found, const std::vector<double>& expected, double tolerance) {
  double largest = 0, worst = 0;
  for (size_t i = 0; i < expected.size(); i++) {
    largest = std::max(largest, std::fabs(expected[i]));
    worst = std::max(worst, std::isfinite(found[i]) ? std::fabs(found[i] - expected[i]) : INFINITY);
  }
  if (worst <= tolerance * largest) return;
  std::fprintf(stderr, "%s: off by %g, the largest being %g\n", what.c_str(), worst, largest);
  std::exit(1);
}

// Views into larger arrays, so that nothing is aligned by more than a double.
void check_product(int64_t rows, int64_t cols, int64_t depth, bool left_transposed, bool right_transposed, int64_t batches, Random& random) {
  const int64_t left_stride = (left_transposed ? rows : depth) + 3, right_stride = (right_transposed ? depth : cols) + 1, stride = cols + 2;
  const int64_t left_size = (left_transposed ? depth : rows) * left_stride + 5, right_size = (right_transposed ? cols : depth) * right_stride + 7;
  const int64_t size = rows * stride + 1;
  const std::vector<double> left = random.normals(left_size * batches + 1), right = random.normals(right_size * batches + 1);
  std::vector<double> expected = random.normals(size * batches + 1);
  const DeviceMemory a = upload(left), b = upload(right), c = upload(expected);
  constexpr double kAlpha = -1.5, kBeta = 0.5;
  for (int64_t batch = 0; batch < batches; batch++) {
    for (int64_t i = 0; i < rows; i++) {
      for (int64_t j = 0; j < cols; j++) {
        double sum = 0;
        for (int64_t k = 0; k < depth; k++) {
          const int64_t from_left = left_transposed ? k * left_stride + i : i * left_stride + k;
          const int64_t from_right = right_transposed ? j * right_stride + k : k * right_stride + j;
          sum += left[static_cast<size_t>(1 + batch * left_size + from_left)] * right[static_cast<size_t>(1 + batch * right_size + from_right)];
        }
        double& to = expected[static_cast<size_t>(1 + batch * size + i * stride + j)];
        to = kAlpha * sum + kBeta * to;
      }
    }
  }
  const DoubleProducts products;
  products.multiply({.target = c.as<double>() + 1,
                     .target_stride = stride,
                     .left = {a.as<double>() + 1, left_stride, left_transposed, left_size},
                     .right = {b.as<double>() + 1, right_stride, right_transposed, right_size},
                     .rows = rows,
                     .cols = cols,
                     .depth = depth,
                     .alpha = kAlpha,
                     .beta = kBeta,
                     .batches = batches,
                     .target_batch_stride = size},
                    nullptr);
  check_close("a product [" + std::to_string(rows) + ", " + std::to_string(depth) + "] [" + std::to_string(cols) + "]", download<double>(c), expected,
              kSumTolerance);
}

// x^T x of `tokens` random rows, whose channels share causes.
std::vector<double> random_gram(int64_t n, int64_t tokens, Random& random) {
  std::vector<double> gram(static_cast<size_t>(n * n));
  for (int64_t token = 0; token < tokens; token++) {
    std::vector<double> x = random.normals(n);
    const double cause = random.normal();
    for (double& each : x) each = 0.5 * each + cause;
    for (int64_t i = 0; i < n; i++) {
      for (int64_t j = 0; j < n; j++) gram[static_cast<size_t>(i * n + j)] += x[static_cast<size_t>(i)] * x[static_cast<size_t>(j)];
    }
  }
  return gram;
}

// U^T U (H + shift) is the identity, H in the order of the factor.
void check_factor(int64_t n, int64_t tokens, double damping, bool act_order, int64_t dead, Random& random) {
  std::vector<double> gram = random_gram(n, tokens, random);
  for (int64_t i = 0; i < n; i++) {
    for (int64_t column = 0; column < dead; column++) gram[static_cast<size_t>(i * n + column)] = gram[static_cast<size_t>(column * n + i)] = 0;
  }
  const DeviceMemory held = upload(gram);
  const DoubleProducts products;
  const InverseFactor factor = factor_inverse(held.as<double>(), n, damping, act_order, products, nullptr);
  CHECK(factor.dead_columns == dead);
  CHECK(tokens > n ? factor.damping == damping : factor.damping >= damping);
  const std::vector<double> upper = download<double>(factor.upper);
  std::vector<int32_t> order(static_cast<size_t>(n));
  if (act_order) order = download<int32_t>(factor.order);
  else for (int64_t i = 0; i < n; i++) order[static_cast<size_t>(i)] = static_cast<int32_t>(i);
  double mean = 0;
  for (int64_t i = 0; i < n; i++) mean += gram[static_cast<size_t>(i * n + i)];
  mean = dead == n ? 1 : mean / static_cast<double>(n - dead);
  const auto hessian = [&](int64_t i, int64_t j) {
    const int64_t row = order[static_cast<size_t>(i)], col = order[static_cast<size_t>(j)];
    const double value = gram[static_cast<size_t>(row * n + col)];
    return row == col ? (row < dead ? 1 : value) + factor.damping * mean : value;
  };
  if (act_order) {
    for (int64_t i = 1; i < n; i++) {
      const double before = gram[static_cast<size_t>(order[static_cast<size_t>(i - 1)] * (n + 1))], here = gram[static_cast<size_t>(order[static_cast<size_t>(i)] * (n + 1))];
      CHECK(before > here || (before == here && order[static_cast<size_t>(i - 1)] < order[static_cast<size_t>(i)]));
    }
  }
  // U H U^T = I loses less than U^T U H, and says the same.
  std::vector<double> product(static_cast<size_t>(n * n)), found(product.size()), identity(product.size());
  for (int64_t i = 0; i < n; i++) {
    for (int64_t k = 0; k < n; k++) {
      if (k < i) CHECK(upper[static_cast<size_t>(i * n + k)] == 0);
      const double u = upper[static_cast<size_t>(i * n + k)];
      if (u == 0) continue;
      for (int64_t j = 0; j < n; j++) product[static_cast<size_t>(i * n + j)] += u * hessian(k, j);
    }
  }
  for (int64_t i = 0; i < n; i++) {
    identity[static_cast<size_t>(i * n + i)] = 1;
    for (int64_t j = 0; j < n; j++) {
      for (int64_t k = j; k < n; k++) found[static_cast<size_t>(i * n + j)] += product[static_cast<size_t>(i * n + k)] * upper[static_cast<size_t>(j * n + k)];
    }
  }
  check_close("the factor of order " + std::to_string(n), found, identity, 1e-8);
}

// Symmetric int4 with a scale per row, column after column.
void check_columns(int64_t rows, int64_t cols, bool act_order, Random& random) {
  const std::vector<double> gram = random_gram(cols, 3 * cols, random);
  std::vector<float> values(static_cast<size_t>(rows * cols)), scales(static_cast<size_t>(rows));
  for (float& value : values) value = static_cast<float>(random.normal());
  for (int64_t row = 0; row < rows; row++) {
    float most = 0;
    for (int64_t col = 0; col < cols; col++) most = std::max(most, std::fabs(values[static_cast<size_t>(row * cols + col)]));
    scales[static_cast<size_t>(row)] = most / 7;
  }
  const DoubleProducts products;
  const DeviceMemory held = upload(gram), held_values = upload(values), held_scales = upload(scales);
  const DeviceMemory zeros(static_cast<size_t>(rows), "a test"), rounded(values.size() * sizeof(float), "a test");
  const InverseFactor factor = factor_inverse(held.as<double>(), cols, 0.01, act_order, products, nullptr);
  const Grid grid = grid_of({"int4", "", false, -1}, cols);
  round_columns({held_values.as<float>(), rows, cols, factor, grid, {held_scales.as<float>(), zeros.as<int8_t>()}, true, rounded.as<float>()}, products, nullptr);
  const std::vector<float> found = download<float>(rounded);
  const std::vector<double> upper = download<double>(factor.upper);
  const std::vector<int32_t> order = act_order ? download<int32_t>(factor.order) : std::vector<int32_t>();
  int64_t different = 0;
  for (int64_t row = 0; row < rows; row++) {
    std::vector<double> w(static_cast<size_t>(cols));
    const auto column = [&](int64_t place) { return act_order ? order[static_cast<size_t>(place)] : place; };
    for (int64_t place = 0; place < cols; place++) w[static_cast<size_t>(place)] = values[static_cast<size_t>(row * cols + column(place))];
    bool same = true;
    for (int64_t place = 0; place < cols; place++) {
      const float scale = scales[static_cast<size_t>(row)], weight = static_cast<float>(w[static_cast<size_t>(place)]);
      const float value = std::nearbyint(std::min(7.0f, std::max(-7.0f, weight / scale))) * scale;
      same = same && value == found[static_cast<size_t>(row * cols + column(place))];
      const double error = (w[static_cast<size_t>(place)] - value) / upper[static_cast<size_t>(place * cols + place)];
      for (int64_t j = place; j < cols; j++) w[static_cast<size_t>(j)] -= error * upper[static_cast<size_t>(place * cols + j)];
    }
    different += !same;
  }
  // A sum in another order can meet a tie, and then the rest of the row is another.
  CHECK(different * 50 <= rows);
}

void check_figures(int64_t width, Random& random) {
  const int64_t tokens = 150, stride = 7;
  std::vector<float> x(static_cast<size_t>(tokens * width));
  for (size_t i = 0; i < x.size(); i++) x[i] = i % 11 == 0 ? 0.0f : static_cast<float>(random.normal());
  const auto calibration = kvant::make_cuda_calibration({.device = "cuda", .width = width, .sample_stride = stride, .sample_capacity = (tokens + stride - 1) / stride});
  for (int64_t begin = 0; begin < tokens; begin += 60) calibration->add(x.data() + begin * width, std::min<int64_t>(60, tokens - begin));
  const kvant::ActivationFigures figures = calibration->figures();
  std::vector<double> gram(static_cast<size_t>(width * width)), expected(gram.size());
  calibration->read_gram(gram.data());
  for (int64_t token = 0; token < tokens; token++) {
    const float* const row = x.data() + token * width;
    for (int64_t i = 0; i < width; i++) {
      for (int64_t j = 0; j < width; j++) expected[static_cast<size_t>(i * width + j)] += static_cast<double>(row[i]) * row[j];
    }
    if (token % stride == 0) CHECK(std::equal(row, row + width, figures.sample.data() + token / stride * width));
  }
  check_close("a Gram matrix", gram, expected, kSumTolerance);
  double counted = figures.zeros;
  for (double bin : figures.bins) counted += bin;
  CHECK(counted == static_cast<double>(x.size()));
  for (int64_t channel = 0; channel < width; channel++) {
    double sum = 0;
    float largest = 0;
    for (int64_t token = 0; token < tokens; token++) {
      const float magnitude = std::fabs(x[static_cast<size_t>(token * width + channel)]);
      sum += magnitude, largest = std::max(largest, magnitude);
    }
    CHECK(figures.sums[static_cast<size_t>(channel)] == sum && figures.largest[static_cast<size_t>(channel)] == largest);
    for (int64_t other = 0; other < width; other++) CHECK(gram[static_cast<size_t>(channel * width + other)] == gram[static_cast<size_t>(other * width + channel)]);
  }
}

}  // namespace

int main() {
  if (const char* absent = kvant::cuda_absent()) {
    std::printf("SKIPPED: %s\n", absent);
    return 0;
  }
  if (const char* absent = kvant::cublaslt_absent()) {
    std::printf("SKIPPED: %s\n", absent);
    return 0;
  }
  succeed(cudaSetDevice(kvant::cuda::device_index("cuda")), "selecting the device");
  constexpr uint64_t kSeed = 20251126;
  std::printf("seed %llu\n", static_cast<unsigned long long>(kSeed));
  Random random(kSeed);
  for (bool left : {false, true}) {
    for (bool right : {false, true}) {
      check_product(1, 1, 1, left, right, 1, random);
      check_product(33, 70, 6, left, right, 1, random);
      check_product(150, 128, 257, left, right, 1, random);
      check_product(20, 48, 31, left, right, 5, random);
    }
  }
  for (int64_t n : {1, 2, 63, 64, 65, 127, 128, 129, 150, 193, 300, 520}) {
    for (bool act_order : {false, true}) check_factor(n, 2 * n + 5, 0.01, act_order, 0, random);
  }
  check_factor(150, 400, 0.01, false, 9, random);
  check_factor(150, 400, 0.01, true, 9, random);
  check_factor(70, 20, 0.01, false, 3, random);
  check_factor(40, 0, 0.01, false, 40, random);
  for (bool act_order : {false, true}) {
    check_columns(200, 70, act_order, random);
    check_columns(100, 300, act_order, random);
    check_columns(3, 129, act_order, random);
  }
  for (int64_t width : {1, 70, 128, 300}) check_figures(width, random);
  std::printf("ok float64 products, inverse factors, GPTQ's columns and figures of activations are those of naive loops\n");
}
