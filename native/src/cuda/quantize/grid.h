#pragma once
#include "kvant/cuda/calibration.h"
#include "kvant/format.h"

namespace kvant::cuda::quantize {

// A GridFormat as kernels see it, for a matrix of `cols` columns.
struct Grid {
  enum class Kind { integer, affine, floating } kind;
  enum class ScaleKind { fp32, power, e4m3 } scale_kind;
  Format format;         // of floating ones
  float max;             // largest code
  int element_exponent;  // power scales: that of the largest code
  float tensor_scale;    // e4m3 scales
  int stored_bits;       // 8, or 4 for everything narrower

  // Where scales lie: that of element [row, col] is row * row_scales + col / group_cols.
  int64_t group_cols, row_scales;
  bool has_groups;  // several scales in a row may be; else rows or the matrix share one

  int64_t groups(int64_t cols) const { return (cols + group_cols - 1) / group_cols; }
  int64_t scale_count(int64_t rows, int64_t cols) const { return row_scales == 0 ? 1 : rows * groups(cols); }
  int64_t row_bytes(int64_t cols) const { return (cols * stored_bits + 7) / 8; }
};

// Throws Error OP_UNSUPPORTED for a format that no kernel takes, INVALID_ARGUMENT for a group size of 0.
Grid grid_of(const GridFormat& format, int64_t cols);
// NVFP4's scale of all scales: the largest magnitude / 6 / 448, two float32 divisions; 0 in other formats.
float tensor_scale_of(const Grid& grid, float largest);

}  // namespace kvant::cuda::quantize
