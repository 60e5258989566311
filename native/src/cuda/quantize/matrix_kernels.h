#pragma once
#include "grid.h"
#include "kvant/cuda/stream.h"

// Passes over weight matrices [rows, cols] on the device. All are memory bound and sum in an order that depends on shapes alone.
namespace kvant::cuda::quantize {

// Scales of a matrix, [scale_count] of its grid.
struct DeviceScales {
  float* scales;
  int8_t* zeros;
};

// The smallest and largest of values, widened to contain 0.
struct ValueRange {
  float low, high;
};

// Weights that may have a factor per column: x[r, c] = values[r, c] * columns[c], rounded to float32; null: 1.
struct ScaledValues {
  const float* values;   // [rows, cols]
  const float* columns;  // [cols]
};

// Of each group of `group_cols` columns: [rows, groups].
void find_ranges(const ScaledValues& x, int64_t rows, int64_t cols, int64_t group_cols, ValueRange* ranges, Stream stream);
// One for them all, to `total`.
void join_ranges(const ValueRange* ranges, int64_t count, ValueRange* total, Stream stream);
// The scale of each range with both ends multiplied by `shrink`.
void choose_scales(const Grid& grid, const ValueRange* ranges, int64_t count, float shrink, const DeviceScales& to, Stream stream);

// Rounds to nearest under given scales. Restored values are divided by the column's factor again, in float32.
struct Rounding {
  float* restored;  // [rows, cols] or null
  double* errors;   // [rows, cols] values less restored, or null
};
void round_values(const Grid& grid, const ScaledValues& x, int64_t rows, int64_t cols, const DeviceScales& scales, const Rounding& to, Stream stream);

// errors = a - b; a null b is zeros.
void subtract(const float* a, const float* b, int64_t count, double* errors, Stream stream);

// sums[r, g] = max(0, sum over the columns of group g of a[r, c] * b[r, c]).
void dot_groups(const double* a, const double* b, int64_t rows, int64_t cols, int64_t group_cols, double* sums, Stream stream);

// Codes as packages/formats lays them out: bytes, or nibbles with the first in the low half and each row in whole bytes.
void encode_values(const Grid& grid, const float* values, int64_t rows, int64_t cols, const DeviceScales& scales, uint8_t* codes, Stream stream);

// Where `candidate[i] < least[i]`, takes the candidate and its scale; shrinks[i] becomes `shrink`.
struct BestShrink {
  double* least;
  float* shrinks;
  DeviceScales scales;
};
void take_better(const double* candidate, const DeviceScales& scales, float shrink, int64_t count, const BestShrink& best, Stream stream);

// Rows of which `own` is above `nearest` take `other`'s values, and their scales where rows have scales of their own; `own` becomes
// `nearest` there and `worse[r]` 1. Of shrinks, which may be null, those rows get 1.
struct RowChoice {
  const double* nearest;  // [rows]
  double* own;            // [rows]
  uint8_t* worse;         // [rows]
  float* values;          // [rows, cols] or null
  const float* other;
  DeviceScales scales, other_scales;
  float* shrinks;
};
void keep_better_rows(const Grid& grid, const RowChoice& choice, int64_t rows, int64_t cols, Stream stream);

}  // namespace kvant::cuda::quantize
