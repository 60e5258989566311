#include "cpu/quantize/restored_matrix.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>

namespace kvant {
namespace {

// Values of a hand-out.
constexpr int64_t kGrainValues = 1 << 14;

// Runs body(begin, end, thread) over rows of `cols` values each.
template <class Body>
void over_rows(int64_t rows, int64_t cols, ThreadPool& pool, Body body) {
  const int64_t grain = std::max<int64_t>(1, kGrainValues / std::max<int64_t>(1, cols));
  std::optional<ThreadPoolStep> awake;
  if (rows > grain) awake.emplace(pool);
  pool.parallel_for(rows, grain, std::ref(body));
}

// Calls body(begin, end, scale, zero) for the runs of a row that share a scale.
template <class Body>
void over_groups(const MatrixScales& scales, int64_t row, int64_t cols, Body body) {
  const int64_t width = scales.group_size > 0 ? scales.group_size : std::max<int64_t>(1, cols), groups = (cols + width - 1) / width;
  const int64_t first = scales.group_size == -2 ? 0 : row * groups;
  for (int64_t group = 0; group < groups; group++) {
    const int zero = scales.zeros == nullptr ? 0 : scales.zeros[first + group];
    body(group * width, std::min(cols, (group + 1) * width), scales.scales[first + group], zero);
  }
}

// A scale is rounded to float32, so the largest value of a group may exceed scale * max by a few units in the last place without
// being clipped by more than its rounding.
constexpr double kSaturationTolerance = 1 + 0x1p-20;

ErrorSums sum_row(const RestoredMatrix& matrix, int64_t row) {
  ErrorSums sums;
  const float* const original = matrix.original + row * matrix.cols;
  const float* const restored = matrix.restored + row * matrix.cols;
  over_groups(matrix.scales, row, matrix.cols, [&](int64_t begin, int64_t end, float scale, int zero) {
    const bool affine = matrix.scales.zeros != nullptr;
    // Affine codes reach from -max - 1 to max, shifted by the zero point.
    const double up = affine ? matrix.max - zero : matrix.max, down = affine ? matrix.max + 1 + zero : matrix.max;
    const double most_up = (up + matrix.half_step) * scale * kSaturationTolerance;
    const double most_down = (down + matrix.half_step) * scale * kSaturationTolerance;
    for (int64_t col = begin; col < end; col++) {
      const double value = original[col];
      if (!std::isfinite(value)) {
        sums.non_finite++;
        continue;
      }
      const double back = restored[col], error = value - back;
      sums.signal += value * value;
      sums.noise += error * error;
      sums.largest_error = std::max(sums.largest_error, std::fabs(error));
      if (value != 0 && back == 0) sums.zeroed++;
      if (std::fabs(value) > (value > 0 ? most_up : most_down)) sums.saturated++;
    }
  });
  return sums;
}

}  // namespace

void dequantize(const Dequantization& matrix, ThreadPool& pool) {
  const int64_t cols = matrix.cols, row_bytes = (cols * matrix.stored_bits + 7) / 8;
  over_rows(matrix.rows, cols, pool, [&](int64_t first, int64_t last, int) {
    for (int64_t row = first; row < last; row++) {
      const uint8_t* const codes = matrix.codes + row * row_bytes;
      float* const values = matrix.values + row * cols;
      over_groups(matrix.scales, row, cols, [&](int64_t begin, int64_t end, float scale, int zero) {
        for (int64_t col = begin; col < end; col++) {
          const int code = matrix.stored_bits == 8 ? codes[col] : codes[col / 2] >> (col % 2 * 4) & 15;
          values[col] = (matrix.table[code] - static_cast<float>(zero)) * scale;
        }
      });
    }
  });
}

ErrorSums sum_errors(const RestoredMatrix& matrix, ThreadPool& pool) {
  std::vector<ErrorSums> rows(static_cast<size_t>(matrix.rows));
  over_rows(matrix.rows, matrix.cols, pool, [&](int64_t first, int64_t last, int) {
    for (int64_t row = first; row < last; row++) rows[static_cast<size_t>(row)] = sum_row(matrix, row);
  });
  ErrorSums sums;
  for (const ErrorSums& row : rows) {
    sums.signal += row.signal;
    sums.noise += row.noise;
    sums.largest_error = std::max(sums.largest_error, row.largest_error);
    sums.saturated += row.saturated;
    sums.zeroed += row.zeroed;
    sums.non_finite += row.non_finite;
  }
  return sums;
}

ValueCounts count_values(const float* before, const float* after, int64_t count, int bins, ThreadPool& pool) {
  constexpr int64_t kRun = 1 << 12;
  const int64_t runs = (count + kRun - 1) / kRun;
  const auto threads = static_cast<size_t>(pool.threads());
  std::vector<float> reaches(threads);
  over_rows(runs, kRun, pool, [&](int64_t first, int64_t last, int thread) {
    float most = reaches[static_cast<size_t>(thread)];
    for (int64_t i = first * kRun; i < std::min(count, last * kRun); i++) {
      for (const float value : {before[i], after[i]}) most = std::fabs(value) > most ? std::fabs(value) : most;
    }
    reaches[static_cast<size_t>(thread)] = most;
  });
  ValueCounts result;
  result.reach = *std::max_element(reaches.begin(), reaches.end());
  const double reach = result.reach, factor = reach == 0 ? 0 : bins / (2 * reach);
  const auto width = static_cast<size_t>(bins);
  std::vector<uint64_t> counts(threads * 2 * width);
  over_rows(runs, kRun, pool, [&](int64_t first, int64_t last, int thread) {
    uint64_t* const mine = counts.data() + static_cast<size_t>(thread) * 2 * width;
    const auto add = [&](float value, uint64_t* to) {
      const double bin = std::floor((static_cast<double>(value) + reach) * factor);
      if (bin == bin) to[static_cast<size_t>(std::min<double>(bins - 1, std::max(0.0, bin)))]++;
    };
    for (int64_t i = first * kRun; i < std::min(count, last * kRun); i++) {
      add(before[i], mine);
      add(after[i], mine + width);
    }
  });
  result.before.resize(width);
  result.after.resize(width);
  for (size_t thread = 0; thread < threads; thread++) {
    for (size_t bin = 0; bin < width; bin++) {
      result.before[bin] += static_cast<double>(counts[thread * 2 * width + bin]);
      result.after[bin] += static_cast<double>(counts[thread * 2 * width + width + bin]);
    }
  }
  return result;
}

}  // namespace kvant
