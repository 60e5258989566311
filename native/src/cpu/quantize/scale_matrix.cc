#include "cpu/quantize/scale_matrix.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <optional>

namespace kvant {
namespace {

// Values of a hand-out.
constexpr int64_t kGrainValues = 1 << 14;

template <class Factor>
void scale_row(const float* __restrict values, int64_t cols, bool divides, Factor factor, float* __restrict out) {
  if (divides) {
    for (int64_t col = 0; col < cols; col++) out[col] = values[col] / factor(col);
  } else {
    for (int64_t col = 0; col < cols; col++) out[col] = values[col] * factor(col);
  }
}

}  // namespace

void scale_matrix(const MatrixScaling& scaling, ThreadPool& pool) {
  const int64_t grain = std::max<int64_t>(1, kGrainValues / std::max<int64_t>(1, scaling.cols));
  std::optional<ThreadPoolStep> awake;
  if (scaling.rows > grain) awake.emplace(pool);
  const auto scale = [&scaling](int64_t first, int64_t last, int) {
    for (int64_t row = first; row < last; row++) {
      const float* const from = scaling.values + row * scaling.cols;
      float* const to = scaling.out + row * scaling.cols;
      const float* const factors = scaling.factors;
      if (scaling.by_row) scale_row(from, scaling.cols, scaling.divides, [factor = factors[row]](int64_t) { return factor; }, to);
      else scale_row(from, scaling.cols, scaling.divides, [factors](int64_t col) { return factors[col]; }, to);
    }
  };
  pool.parallel_for(scaling.rows, grain, std::ref(scale));
}

bool all_finite(const float* values, int64_t count, ThreadPool& pool) {
  constexpr int64_t kRun = kGrainValues;
  const int64_t runs = (count + kRun - 1) / kRun;
  std::atomic<bool> finite{true};
  std::optional<ThreadPoolStep> awake;
  if (runs > 1) awake.emplace(pool);
  const auto look = [&](int64_t first, int64_t last, int) {
    constexpr uint32_t kInfinity = 0x7f800000u;
    uint32_t most = 0;
    for (int64_t i = first * kRun; i < std::min(count, last * kRun); i++) {
      const uint32_t magnitude = __builtin_bit_cast(uint32_t, values[i]) & 0x7fffffffu;
      most = magnitude > most ? magnitude : most;
    }
    if (most >= kInfinity) finite = false;
  };
  pool.parallel_for(runs, 1, std::ref(look));
  return finite;
}

}  // namespace kvant
