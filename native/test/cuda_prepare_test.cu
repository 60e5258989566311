// int8 codes of activations in whole octets, which take a short way where a quotient is not near a tie: every tie and its neighbours,
// what is out of range, what is no number, and scales on either side of what the short way takes.
// Skips aloud where there is no device.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "cuda_linear_fixture.h"
#include "kvant/cuda/linear.h"

namespace {

using kvant::Format;
using namespace kvant_test;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

// Through an identity: y[n] is the code of x[n] times its scale.
void test_int8_codes() {
  constexpr int kCols = 64;
  std::vector<float> identity(kCols * kCols);
  for (size_t n = 0; n < kCols; n++) identity[n * kCols + n] = 1;
  const Poisoned source(identity);
  std::vector<float> values = {kNan, kInfinity, -kInfinity, 0.0f, -0.0f, 127.25f, -127.25f, 128, -128, 1e30f, 1e-30f};
  for (int k = -128; k < 128; k++) {
    const float half = static_cast<float>(k) + 0.5f;
    values.insert(values.end(), {half, std::nextafter(half, 1e3f), std::nextafter(half, -1e3f), half + 0.0001f, half - 0.0002f, half + 0.25f});
  }
  for (const float fixed : {0.0f, 1.0f, 0.37f, 0x1p-81f, 0x1p101f}) {  // 0: a scale of each row
    const auto matrix = kvant::cuda::make_cuda_matrix({kCols, kCols, Format::int8, -1, Format::int8, fixed}, {});
    matrix->load_rows(0, kCols, Format::fp32, source.data(), nullptr);
    for (auto first = values.begin(); values.end() - first >= kCols; first += kCols) {
      std::vector<float> x(first, first + kCols);
      float largest = 0;
      for (float& value : x) {
        if (fixed > 0) value *= fixed;
        else if (!(std::fabs(value) < 1e3f)) value = 1;
        largest = std::fmax(largest, std::fabs(value));
      }
      const float scale = fixed > 0 ? fixed : largest / 127;
      const std::vector<float> y = run(*matrix, x, 0, 1, nullptr);
      for (size_t n = 0; n < kCols; n++) {
        const float quotient = x[n] / scale, code = std::isnan(quotient) ? 0 : std::rint(std::clamp(quotient, -127.0f, 127.0f));
        check(std::fabs(y[n] / scale - code) < 1e-3f, [&] {
          return matrix->variant(1) + ": " + std::to_string(x[n]) + " over " + std::to_string(scale) + " has the code " + std::to_string(y[n] / scale);
        });
      }
    }
  }
  report("int8 codes of ties, extremes and what is no number");
}

}  // namespace

int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::printf("SKIPPED cuda_prepare_test: no CUDA device\n");
    return 0;
  }
  test_int8_codes();
  if (failures > 0) std::printf("%d checks failed\n", failures);
  return failures == 0 ? 0 : 1;
}
