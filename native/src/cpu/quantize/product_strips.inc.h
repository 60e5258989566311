// Packing and products of strips for one tier; included by quantize_kernels.inc.h inside an unnamed namespace, after
// kVectorLanes (float64 in a register), kLeftWidth (rows of a unit) and kRightVectors (registers of its columns).

using Vector = double __attribute__((vector_size(8 * kVectorLanes)));
// The same at any float64. Copies of several registers at once would go through memory in narrower ones.
using VectorInArray = double __attribute__((vector_size(8 * kVectorLanes), aligned(8), may_alias));
constexpr int kRightWidth = kRightVectors * kVectorLanes;

template <int kWidth, typename T>
void pack_strips(const Lanes& from, int64_t count, int64_t depth, double* strips) {
  for (int64_t first = 0; first < count; first += kWidth, strips += kWidth * depth) {
    const T* const start = static_cast<const T*>(from.data) + first * from.lane_stride;
    if (from.lane_stride == 1 && count - first >= kWidth) {
      for (int64_t p = 0; p < depth; p++) {
        for (int lane = 0; lane < kWidth; lane++) strips[p * kWidth + lane] = start[p * from.depth_stride + lane];
      }
      continue;
    }
    for (int lane = 0; lane < kWidth; lane++) {
      if (first + lane >= count) {
        for (int64_t p = 0; p < depth; p++) strips[p * kWidth + lane] = 0;
        continue;
      }
      const T* const values = start + lane * from.lane_stride;
      for (int64_t p = 0; p < depth; p++) strips[p * kWidth + lane] = values[p * from.depth_stride];
    }
  }
}

template <int kWidth>
void pack(const Lanes& from, int64_t count, int64_t depth, double* strips) {
  if (from.is_float64) pack_strips<kWidth, double>(from, count, depth, strips);
  else pack_strips<kWidth, float>(from, count, depth, strips);
}

// sums [left width, right width] of two strips.
inline __attribute__((always_inline)) void multiply_strips(const double* left, const double* right, int64_t depth, double* sums) {
  Vector sum[kLeftWidth][kRightVectors] = {};
  for (int64_t p = 0; p < depth; p++, left += kLeftWidth, right += kRightWidth) {
    const VectorInArray* const columns = reinterpret_cast<const VectorInArray*>(right);
#pragma GCC unroll 16
    for (int i = 0; i < kLeftWidth; i++) {
#pragma GCC unroll 16
      for (int j = 0; j < kRightVectors; j++) sum[i][j] += left[i] * columns[j];
    }
  }
  VectorInArray* const out = reinterpret_cast<VectorInArray*>(sums);
#pragma GCC unroll 16
  for (int i = 0; i < kLeftWidth; i++) {
#pragma GCC unroll 16
    for (int j = 0; j < kRightVectors; j++) out[i * kRightVectors + j] = sum[i][j];
  }
}

void add_unit(const double* sums, int64_t rows, int64_t cols, double sign, double* target, const ProductTarget& strides) {
  const bool whole_rows = strides.col_stride == 1 && cols == kRightWidth;
  for (int64_t i = 0; i < rows; i++, sums += kRightWidth, target += strides.row_stride) {
    if (whole_rows) {
      for (int j = 0; j < kRightWidth; j++) target[j] += sign * sums[j];
    } else {
      for (int64_t j = 0; j < cols; j++) target[j * strides.col_stride] += sign * sums[j];
    }
  }
}

void add_tile(const double* left, const double* right, int64_t rows, int64_t cols, int64_t depth, double sign,
              const ProductTarget& target) {
  // The strip of `right` stays in the first-level cache while those of `left` pass.
  for (int64_t col = 0; col < cols; col += kRightWidth) {
    const int64_t unit_cols = cols - col < kRightWidth ? cols - col : kRightWidth;
    for (int64_t row = 0; row < rows; row += kLeftWidth) {
      const int64_t unit_rows = rows - row < kLeftWidth ? rows - row : kLeftWidth;
      double sums[kLeftWidth * kRightWidth];
      multiply_strips(left + row * depth, right + col * depth, depth, sums);
      double* const at = target.data + row * target.row_stride + col * target.col_stride;
      add_unit(sums, unit_rows, unit_cols, sign, at, target);
    }
  }
}
