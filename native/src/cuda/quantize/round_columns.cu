// GPTQ's pass over the columns (Frantar et al. 2022, algorithm 1), U being the upper factor of the inverse Hessian:
//   Q[:, j]  = round(W[:, j])
//   e        = (W[:, j] - Q[:, j]) / U[j, j]
//   W[:, j:] = W[:, j:] - e . U[j, j:]
// W, U: float64   Q: float32   Rows do not depend on each other: a warp takes one through a tile of up to 128 columns, four in each
// lane's registers, and what lies right of the tile is updated by one product when the tile is done.
// 2 * rows * cols^2 operations in products; a tile reads its part of U from the first-level cache once per row.
#include <algorithm>

#include "cuda/check.h"
#include "grid.cuh"
#include "round_columns.h"

namespace kvant::cuda::quantize {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kSlots = 4;
constexpr int64_t kTileColumns = 32 * kSlots;

struct Tile {
  double* weights;       // [rows, cols], in the order of quantization
  float* rounded;        // [rows, cols], the same order
  double* errors;        // [rows, side]
  const double* upper;   // [cols, cols]
  const int32_t* order;  // [cols] or null
  Grid grid;
  DeviceScales scales;
  bool chooses;          // the scale of a group when it begins
  int64_t rows, cols, start;
  int side;
};

__device__ float warp_least(float value) {
  for (int offset = 16; offset > 0; offset /= 2) value = fminf(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}

__global__ void __launch_bounds__(kThreads) tile_kernel(const Tile tile) {
  const int lane = threadIdx.x % 32, side = tile.side;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= tile.rows) return;
  double* const weights = tile.weights + row * tile.cols;
  double w[kSlots], error[kSlots] = {};
  float rounded[kSlots] = {}, scales[kSlots];
  int zeros[kSlots];
#pragma unroll
  for (int slot = 0; slot < kSlots; slot++) {
    const int i = slot * 32 + lane;
    const int64_t place = tile.start + min(i, side - 1);
    w[slot] = i < side ? weights[place] : 0;
    // A group that began in an earlier tile has its scale by now; that of one that begins here is chosen below.
    const int64_t col = tile.order == nullptr ? place : tile.order[place];
    const int64_t index = row * tile.grid.row_scales + col / tile.grid.group_cols;
    scales[slot] = tile.scales.scales[index];
    zeros[slot] = tile.scales.zeros[index];
  }
  GroupScale current{0, 0};
#pragma unroll
  for (int slot = 0; slot < kSlots; slot++) {
    for (int owner = 0; owner < 32; owner++) {
      const int i = slot * 32 + owner;
      if (i >= side) break;
      const int64_t place = tile.start + i;
      if (tile.chooses && place % tile.grid.group_cols == 0) {
        const int64_t group_end = min(place + tile.grid.group_cols, tile.cols), tile_end = tile.start + side;
        float low = 0, high = 0;
#pragma unroll
        for (int other = 0; other < kSlots; other++) {
          const int64_t at = tile.start + other * 32 + lane;
          if (at < place || at >= group_end || at >= tile_end) continue;
          low = fminf(low, static_cast<float>(w[other])), high = fmaxf(high, static_cast<float>(w[other]));
        }
        // A group that ends beyond the tile begins where it begins, and no update is pending then.
        for (int64_t at = tile_end + lane; at < group_end; at += 32) {
          low = fminf(low, static_cast<float>(weights[at])), high = fmaxf(high, static_cast<float>(weights[at]));
        }
        current = scale_of(tile.grid, warp_least(low), -warp_least(-high));
        if (lane == 0) {
          const int64_t index = row * tile.grid.row_scales + place / tile.grid.group_cols;
          tile.scales.scales[index] = current.scale;
          tile.scales.zeros[index] = static_cast<int8_t>(current.zero);
        }
      } else if (!tile.chooses || i == 0) {
        current = {__shfl_sync(0xffffffffu, scales[slot], owner), __shfl_sync(0xffffffffu, zeros[slot], owner)};
      }
      const double* const upper = tile.upper + place * tile.cols + tile.start;
      const double weight = __shfl_sync(0xffffffffu, w[slot], owner);
      const float value = quantize(tile.grid, static_cast<float>(weight), current.scale, current.zero).value;
      const double scaled = (weight - static_cast<double>(value)) / upper[i];
      if (lane == owner) rounded[slot] = value, error[slot] = scaled;
#pragma unroll
      for (int other = slot; other < kSlots; other++) {
        const int j = other * 32 + lane;
        if (j > i && j < side) w[other] -= scaled * upper[j];
      }
    }
  }
#pragma unroll
  for (int slot = 0; slot < kSlots; slot++) {
    const int i = slot * 32 + lane;
    if (i >= side) continue;
    tile.rounded[row * tile.cols + tile.start + i] = rounded[slot];
    tile.errors[row * side + i] = error[slot];
  }
}

// weights[r, place] = values[r, order[place]], those of dead columns 0.
__global__ void __launch_bounds__(kThreads) take_kernel(const float* values, int64_t cols, const int32_t* order, const uint8_t* dead, double* weights) {
  const int64_t row = blockIdx.x;
  for (int64_t place = threadIdx.x; place < cols; place += kThreads) {
    const int64_t col = order == nullptr ? place : order[place];
    weights[row * cols + place] = dead[place] != 0 ? 0.0 : static_cast<double>(values[row * cols + col]);
  }
}

__global__ void __launch_bounds__(kThreads) put_back_kernel(const float* rounded, int64_t cols, const int32_t* order, float* to) {
  const int64_t row = blockIdx.x;
  for (int64_t place = threadIdx.x; place < cols; place += kThreads) to[row * cols + order[place]] = rounded[row * cols + place];
}

// Where the tile that begins at `start` ends: after 128 columns, or at the last group boundary before that, since otherwise the choice
// of a group's scale would miss updates.
int64_t tile_end(int64_t start, int64_t cols, int64_t group_cols) {
  const int64_t end = std::min(start + kTileColumns, cols);
  if (group_cols == 0 || end == cols) return end;
  const int64_t boundary = end - end % group_cols;
  return boundary > start ? boundary : end;
}

}  // namespace

void round_columns(const ColumnRounding& operands, const DoubleProducts& products, Stream stream) {
  const auto& [values, rows, cols, factor, grid, scales, static_scales, result] = operands;
  if (rows == 0 || cols == 0) return;
  const auto elements = static_cast<size_t>(rows * cols);
  const DeviceMemory weights(elements * sizeof(double), "weights in float64");
  const DeviceMemory errors(static_cast<size_t>(rows * kTileColumns) * sizeof(double), "errors of a tile");
  const int32_t* const order = factor.order.bytes() == 0 ? nullptr : factor.order.as<int32_t>();
  const DeviceMemory permuted(order == nullptr ? 0 : elements * sizeof(float), "rounded weights");
  float* const rounded = order == nullptr ? result : permuted.as<float>();
  const auto row_blocks = static_cast<unsigned>(rows);
  take_kernel<<<row_blocks, kThreads, 0, stream>>>(values, cols, order, factor.dead.as<uint8_t>(), weights.as<double>());
  check_launch("weights in the order of quantization");
  const bool chooses = grid.has_groups && !static_scales;
  const double* const upper = factor.upper.as<double>();
  for (int64_t start = 0; start < cols;) {
    const int64_t end = tile_end(start, cols, chooses ? grid.group_cols : 0), side = end - start;
    const Tile tile{weights.as<double>(), rounded, errors.as<double>(), upper, order, grid, scales, chooses, rows, cols, start, static_cast<int>(side)};
    tile_kernel<<<static_cast<unsigned>((rows + kWarps - 1) / kWarps), kThreads, 0, stream>>>(tile);
    check_launch("rounding columns");
    products.multiply({.target = weights.as<double>() + end,
                       .target_stride = cols,
                       .left = {errors.as<double>(), side},
                       .right = {upper + start * cols + end, cols},
                       .rows = rows,
                       .cols = cols - end,
                       .depth = side,
                       .alpha = -1,
                       .beta = 1},
                      stream);
    start = end;
  }
  if (order != nullptr) {
    put_back_kernel<<<row_blocks, kThreads, 0, stream>>>(rounded, cols, order, result);
    check_launch("columns in their places");
  }
  check(cudaStreamSynchronize(stream), "rounding columns");  // the memory above goes
}

}  // namespace kvant::cuda::quantize
