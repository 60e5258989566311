#pragma once
#include "double_product.h"
#include "grid.h"
#include "inverse_factor.h"
#include "matrix_kernels.h"

namespace kvant::cuda::quantize {

// Operands of `round_columns`; all on the device.
struct ColumnRounding {
  const float* values;   // [rows, cols]
  int64_t rows, cols;
  const InverseFactor& factor;
  Grid grid;
  // Given; or, in formats with groups whose scales are not static, chosen when a group begins and written.
  DeviceScales scales;
  bool static_scales;
  float* rounded;        // [rows, cols], what comes out, in the original places
};

// GPTQ's pass over the columns: packages/quantizers `roundColumns`, with 128 columns between two updates of all that follow.
void round_columns(const ColumnRounding& operands, const DoubleProducts& products, Stream stream);

}  // namespace kvant::cuda::quantize
