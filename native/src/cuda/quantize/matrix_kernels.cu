#include "matrix_kernels.h"

#include <algorithm>

#include "cuda/check.h"
#include "cuda/reduce.cuh"
#include "grid.cuh"

namespace kvant::cuda::quantize {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
// Blocks along x; threads go on from there in strides.
constexpr int64_t kMostBlocks = 65536;

unsigned blocks_of(int64_t items, int64_t per_block) {
  return static_cast<unsigned>(std::min(kMostBlocks, std::max<int64_t>(1, (items + per_block - 1) / per_block)));
}

__device__ int64_t first_item() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }
__device__ int64_t item_stride() { return static_cast<int64_t>(gridDim.x) * kThreads; }
__device__ int64_t first_warp_item() { return static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32; }
__device__ int64_t warp_item_stride() { return static_cast<int64_t>(gridDim.x) * kWarps; }

__device__ float value_of(const ScaledValues& x, int64_t at, int64_t col) {
  return x.columns == nullptr ? x.values[at] : __fmul_rn(x.values[at], x.columns[col]);
}

__device__ ValueRange joined(ValueRange a, float value) { return {fminf(a.low, value), fmaxf(a.high, value)}; }

__device__ ValueRange warp_range(ValueRange range) {
  for (int offset = 16; offset > 0; offset /= 2) {
    range.low = fminf(range.low, __shfl_xor_sync(0xffffffffu, range.low, offset));
    range.high = fmaxf(range.high, __shfl_xor_sync(0xffffffffu, range.high, offset));
  }
  return range;
}

// A warp per group.
__global__ void __launch_bounds__(kThreads) range_kernel(ScaledValues x, int64_t rows, int64_t cols, int64_t group_cols, ValueRange* ranges) {
  const int64_t groups = (cols + group_cols - 1) / group_cols;
  for (int64_t item = first_warp_item(); item < rows * groups; item += warp_item_stride()) {
    const int64_t row = item / groups, begin = item % groups * group_cols, end = min(begin + group_cols, cols);
    ValueRange range{0, 0};
    for (int64_t col = begin + threadIdx.x % 32; col < end; col += 32) range = joined(range, value_of(x, row * cols + col, col));
    range = warp_range(range);
    if (threadIdx.x % 32 == 0) ranges[item] = range;
  }
}

// One block.
__global__ void __launch_bounds__(kThreads) join_kernel(const ValueRange* ranges, int64_t count, ValueRange* total) {
  __shared__ ValueRange shared[kWarps];
  ValueRange range{0, 0};
  for (int64_t i = threadIdx.x; i < count; i += kThreads) range = joined(joined(range, ranges[i].low), ranges[i].high);
  range = warp_range(range);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = range;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (const ValueRange& each : shared) range = joined(joined(range, each.low), each.high);
  *total = range;
}

__global__ void __launch_bounds__(kThreads) scale_kernel(Grid grid, const ValueRange* ranges, int64_t count, float shrink, DeviceScales to) {
  for (int64_t i = first_item(); i < count; i += item_stride()) {
    const GroupScale chosen = scale_of(grid, ranges[i].low, ranges[i].high, shrink);
    to.scales[i] = chosen.scale;
    to.zeros[i] = static_cast<int8_t>(chosen.zero);
  }
}

__global__ void __launch_bounds__(kThreads) round_kernel(Grid grid, ScaledValues x, int64_t rows, int64_t cols, DeviceScales scales, Rounding to) {
  for (int64_t at = first_item(); at < rows * cols; at += item_stride()) {
    const int64_t row = at / cols, col = at - row * cols, index = row * grid.row_scales + col / grid.group_cols;
    float back = quantize(grid, value_of(x, at, col), scales.scales[index], scales.zeros[index]).value;
    if (x.columns != nullptr) back = __fdiv_rn(back, x.columns[col]);
    if (to.restored != nullptr) to.restored[at] = back;
    if (to.errors != nullptr) to.errors[at] = static_cast<double>(x.values[at]) - static_cast<double>(back);
  }
}

__global__ void __launch_bounds__(kThreads) subtract_kernel(const float* a, const float* b, int64_t count, double* errors) {
  for (int64_t at = first_item(); at < count; at += item_stride()) {
    errors[at] = static_cast<double>(a[at]) - (b == nullptr ? 0.0 : static_cast<double>(b[at]));
  }
}

// A warp per group.
__global__ void __launch_bounds__(kThreads) dot_kernel(const double* a, const double* b, int64_t rows, int64_t cols, int64_t group_cols, double* sums) {
  const int64_t groups = (cols + group_cols - 1) / group_cols;
  for (int64_t item = first_warp_item(); item < rows * groups; item += warp_item_stride()) {
    const int64_t row = item / groups, begin = item % groups * group_cols, end = min(begin + group_cols, cols);
    double sum = 0;
    for (int64_t col = begin + threadIdx.x % 32; col < end; col += 32) sum += a[row * cols + col] * b[row * cols + col];
    sum = warp_reduce(sum, Sum());
    if (threadIdx.x % 32 == 0) sums[item] = sum < 0 ? 0 : sum;
  }
}

// A thread per byte.
__global__ void __launch_bounds__(kThreads) encode_kernel(Grid grid, const float* values, int64_t rows, int64_t cols, DeviceScales scales, uint8_t* codes) {
  const int64_t row_bytes = (cols * grid.stored_bits + 7) / 8;
  for (int64_t item = first_item(); item < rows * row_bytes; item += item_stride()) {
    const int64_t row = item / row_bytes, byte = item - row * row_bytes;
    const auto code_at = [&](int64_t col) {
      const int64_t index = row * grid.row_scales + col / grid.group_cols;
      return static_cast<unsigned>(quantize(grid, values[row * cols + col], scales.scales[index], scales.zeros[index]).code);
    };
    if (grid.stored_bits == 8) {
      codes[item] = static_cast<uint8_t>(code_at(byte));
      continue;
    }
    const unsigned low = code_at(2 * byte) & 15u, high = 2 * byte + 1 < cols ? code_at(2 * byte + 1) & 15u : 0;
    codes[item] = static_cast<uint8_t>(low | high << 4);
  }
}

__global__ void __launch_bounds__(kThreads) better_kernel(const double* candidate, DeviceScales scales, float shrink, int64_t count, BestShrink best) {
  for (int64_t i = first_item(); i < count; i += item_stride()) {
    if (!(candidate[i] < best.least[i])) continue;
    best.least[i] = candidate[i];
    best.shrinks[i] = shrink;
    best.scales.scales[i] = scales.scales[i];
    best.scales.zeros[i] = scales.zeros[i];
  }
}

// A block per row.
__global__ void __launch_bounds__(kThreads) choice_kernel(Grid grid, RowChoice choice, int64_t cols) {
  const int64_t row = blockIdx.x;
  const bool worse = choice.own[row] > choice.nearest[row];
  __syncthreads();  // all have read before one writes
  if (threadIdx.x == 0) {
    choice.worse[row] = worse ? 1 : 0;
    if (worse) choice.own[row] = choice.nearest[row];
  }
  if (!worse) return;
  if (choice.values != nullptr) {
    for (int64_t at = row * cols + threadIdx.x; at < (row + 1) * cols; at += kThreads) choice.values[at] = choice.other[at];
  }
  for (int64_t at = row * grid.row_scales + threadIdx.x; at < (row + 1) * grid.row_scales; at += kThreads) {
    choice.scales.scales[at] = choice.other_scales.scales[at];
    choice.scales.zeros[at] = choice.other_scales.zeros[at];
    if (choice.shrinks != nullptr) choice.shrinks[at] = 1;
  }
}

}  // namespace

void find_ranges(const ScaledValues& x, int64_t rows, int64_t cols, int64_t group_cols, ValueRange* ranges, Stream stream) {
  const int64_t items = rows * ((cols + group_cols - 1) / group_cols);
  range_kernel<<<blocks_of(items, kWarps), kThreads, 0, stream>>>(x, rows, cols, group_cols, ranges);
  check_launch("ranges of weights");
}

void join_ranges(const ValueRange* ranges, int64_t count, ValueRange* total, Stream stream) {
  join_kernel<<<1, kThreads, 0, stream>>>(ranges, count, total);
  check_launch("the range of all weights");
}

void choose_scales(const Grid& grid, const ValueRange* ranges, int64_t count, float shrink, const DeviceScales& to, Stream stream) {
  scale_kernel<<<blocks_of(count, kThreads), kThreads, 0, stream>>>(grid, ranges, count, shrink, to);
  check_launch("scales of weights");
}

void round_values(const Grid& grid, const ScaledValues& x, int64_t rows, int64_t cols, const DeviceScales& scales, const Rounding& to, Stream stream) {
  round_kernel<<<blocks_of(rows * cols, kThreads), kThreads, 0, stream>>>(grid, x, rows, cols, scales, to);
  check_launch("rounding weights");
}

void subtract(const float* a, const float* b, int64_t count, double* errors, Stream stream) {
  subtract_kernel<<<blocks_of(count, kThreads), kThreads, 0, stream>>>(a, b, count, errors);
  check_launch("errors of weights");
}

void dot_groups(const double* a, const double* b, int64_t rows, int64_t cols, int64_t group_cols, double* sums, Stream stream) {
  const int64_t items = rows * ((cols + group_cols - 1) / group_cols);
  dot_kernel<<<blocks_of(items, kWarps), kThreads, 0, stream>>>(a, b, rows, cols, group_cols, sums);
  check_launch("output errors");
}

void encode_values(const Grid& grid, const float* values, int64_t rows, int64_t cols, const DeviceScales& scales, uint8_t* codes, Stream stream) {
  encode_kernel<<<blocks_of(rows * grid.row_bytes(cols), kThreads), kThreads, 0, stream>>>(grid, values, rows, cols, scales, codes);
  check_launch("codes of weights");
}

void take_better(const double* candidate, const DeviceScales& scales, float shrink, int64_t count, const BestShrink& best, Stream stream) {
  better_kernel<<<blocks_of(count, kThreads), kThreads, 0, stream>>>(candidate, scales, shrink, count, best);
  check_launch("choosing a clipping");
}

void keep_better_rows(const Grid& grid, const RowChoice& choice, int64_t rows, int64_t cols, Stream stream) {
  if (rows == 0) return;
  choice_kernel<<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(grid, choice, cols);
  check_launch("choosing rows");
}

}  // namespace kvant::cuda::quantize
