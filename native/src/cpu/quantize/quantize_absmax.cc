#include "cpu/quantize/quantize_absmax.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <optional>
#include <vector>

namespace kvant {
namespace {

constexpr CodeFormat kCodeFormats[] = {
    {"int8", 127, 8, &QuantizeKernels::int8},
    {"int4", 7, 4, &QuantizeKernels::int4},
    {"int3", 3, 4, &QuantizeKernels::int3},
    {"int2", 1, 4, &QuantizeKernels::int2},
    {"e4m3", max_value(Format::e4m3), 8, &QuantizeKernels::e4m3},
    {"e5m2", max_value(Format::e5m2), 8, &QuantizeKernels::e5m2},
    {"e2m1", max_value(Format::e2m1), 4, &QuantizeKernels::e2m1},
};

// Values of a hand-out.
constexpr int64_t kGrainValues = 1 << 14;

float matrix_absmax(const AbsMaxQuantization& matrix, const QuantizeKernels& kernels, ThreadPool& pool, int64_t grain) {
  std::vector<float> most(static_cast<size_t>(pool.threads()), 0.0f);
  const auto measure = [&](int64_t begin, int64_t end, int thread) {
    float& mine = most[static_cast<size_t>(thread)];
    mine = std::max(mine, kernels.absmax(matrix.values + begin * matrix.cols, (end - begin) * matrix.cols));
  };
  pool.parallel_for(matrix.rows, grain, std::ref(measure));
  return *std::max_element(most.begin(), most.end());
}

}  // namespace

const CodeFormat* code_format(const std::string& name) {
  const auto found = std::find_if(std::begin(kCodeFormats), std::end(kCodeFormats), [&](const auto& each) { return name == each.name; });
  return found == std::end(kCodeFormats) ? nullptr : found;
}

void quantize_absmax(const AbsMaxQuantization& matrix, const QuantizeKernels& kernels, ThreadPool& pool) {
  const int64_t rows = matrix.rows, cols = matrix.cols, group_size = matrix.group_size;
  // Rows of no width have scales too, each 0.
  if (cols == 0) std::fill_n(matrix.scales, matrix.scale_count(), 0.0f);
  const int64_t grain = std::max<int64_t>(1, kGrainValues / std::max<int64_t>(1, cols));
  std::optional<ThreadPoolStep> awake;
  if (rows > grain) awake.emplace(pool);
  float matrix_scale = -1;
  if (group_size == -2) {
    matrix_scale = matrix_absmax(matrix, kernels, pool, grain) / matrix.format->limit;
    matrix.scales[0] = matrix_scale;
  }
  const int64_t group_cols = group_size > 0 ? group_size : std::max<int64_t>(1, cols);
  const int64_t groups = (cols + group_cols - 1) / group_cols;
  const QuantizeRow quantize_row = kernels.*matrix.format->quantize_row;
  const auto quantize = [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) {
      float* const row_scales = matrix.scales + (group_size == -2 ? 0 : row * groups);
      uint8_t* const to = matrix.codes + row * matrix.row_bytes();
      quantize_row(matrix.values + row * cols, cols, group_cols, matrix_scale, row_scales, to);
    }
  };
  pool.parallel_for(rows, grain, std::ref(quantize));
}

}  // namespace kvant
