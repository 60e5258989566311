#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kvant/cuda/linear.h"
#include "kvant/linear.h"

namespace kvant::cuda::linear {

// Columns are processed in units of 32 (two 16-bit tensor-core steps, one 8-bit step), stored in chunks of two units.
constexpr int kUnitColumns = 32;
constexpr int kChunkColumns = 64;
// Features of one tensor-core tile, and the padding of a matrix: the features of one block of the prefill product.
constexpr int kTileRows = 16;
constexpr int kBlockRows = 128;
constexpr int kInverseShift = 40;

// A weight matrix on the device. Every group is padded to whole units, a row to whole chunks; rows to kBlockRows. Padding
// meets zero activations (columns) or is not stored (rows). Lane (g, c) of a warp, g = lane / 4 and c = lane % 4, works on
// rows g and g + 8 of a tile and on columns 8c .. 8c+7 of a unit; every format is stored so that it reads 16 bytes at a time:
//
//   fp32, bf16, fp16   [row][column]
//   int8, e4m3, e5m2   [row][chunk][c][unit][8 columns]: a permutation of row-major inside a chunk. Activation codes of one
//                      byte have the same order, so libraries that only sum over columns read both as row-major.
//   int4, e2m1         [tile][chunk][lane][unit][row g, row g + 8][8 columns]: column 2i of the 8 in nibble i, column 2i + 1
//                      in nibble i + 4, so that one mask takes a pair apart. int4 codes + 8.
//   scales             [tile][group] of float32 [16 rows]; affine: and int8 [16 rows] zero points; e8m0: uint8 [16 rows];
//                      e4m3: uint8 [2][16 rows], a group being two of the 16 columns that share a scale
//   row scales         float32 [row], e4m3 only; elsewhere a row of one group has them above
struct Layout {
  explicit Layout(const MatrixSpec& spec);

  Format format;
  int rows, cols;
  int group_cols;    // columns that share a scale; cols where a row has one scale or none
  int group_stride;  // the same, padded to units; the whole row where there is one group
  int groups;
  int padded_rows, padded_cols, chunks;
  Scales scales;
  int scale_run;  // bytes of the scales of a group of a tile
  size_t code_bytes, scale_bytes;

  // The column of the source that padded column `at` holds, -1 for padding.
  __host__ __device__ int source_column(int at) const {
    const int group = at / group_stride, within = at - group * group_stride, column = group * group_cols + within;
    return within < group_cols && column < cols ? column : -1;
  }
  // Byte at which the scales of a group of a row's tile begin.
  __host__ __device__ size_t run_at(int row, int group) const {
    return (static_cast<size_t>(row / kTileRows) * groups + group) * static_cast<size_t>(scale_run);
  }
  __host__ __device__ size_t row_scales_at() const { return static_cast<size_t>(padded_rows / kTileRows) * groups * static_cast<size_t>(scale_run); }
};

// Where the sums of a product meet the scales.
enum class Scaling {
  rows,    // at the end, or there are none
  groups,  // at the end of each group
  zeros,   // the same, with zero points
  codes,   // e4m3: on each weight, exactly; the row scales at the end
};

constexpr bool is_grouped(Scaling scaling) { return scaling == Scaling::groups || scaling == Scaling::zeros; }

// One product y[t, n] = x_scale[t] * sum_g scale[n, g] * sum_{k in g} x[t, k] * w[n, k] + bias[n]. Only kernels for many tokens leave
// other results than float32.
struct Call {
  const uint8_t* codes;
  const uint8_t* scales;  // null for 16 and 32 bit
  const void* x;          // prepared
  const float* x_scales;  // [tokens] or null
  const float* row_scales;  // [rows]: all scales, or e4m3's second one; else null
  const float* bias;      // [rows] or null
  float* y;               // [tokens, rows]; bf16 fills the first half
  Result result;
  float* onto;            // [tokens, rows], `added` only
  float* parts;           // [splits, tokens, rows], prefill product with splits > 1
  int rows, tokens, padded_cols, panel_rows, chunks, groups;  // panel_rows: as PreparedForm's
  int group_units;        // units of a group
  uint64_t group_inverse; // 2^kInverseShift / group_units, rounded up: exact quotients of fewer than 2^20 units
  int scale_run;          // bytes of the scales of a group of a tile
  Scaling scaling;
  int splits;             // of the columns among blocks
  int multiprocessors;
};

// The kernels of one pair of weight format and operand; one such table entry per file product_<weights>_<operand>.cu.
struct Product {
  void (*stream)(const Call&, cudaStream_t);  // batch-invariant; null: few tokens come as another operand (matrix.cc)
  void (*tiles)(const Call&, cudaStream_t);   // null: `stream` serves every number of tokens
};

// The kernels of 8- or 4-bit weights with 16-bit or int8 operands on the tensor cores of compute capability 9.0; x is paired.
// One such table entry per file warpgroup_<weights>_<operand>.cu.
constexpr int kMostSplitTokens = 128, kPanelRows = 128, kPanelColumns = 128;
struct WarpgroupProduct {
  void (*split)(const Call&, cudaStream_t);  // up to kMostSplitTokens; null: so few tokens come as another operand (matrix.cc)
  void (*whole)(const Call&, cudaStream_t);  // any number; x is in panels of whole blocks and iterations
};

// Null where there is no kernel for the pair, or the device or the code that runs on it lacks the instructions.
const WarpgroupProduct* find_warpgroup_product(Format weights, Scales scales, Operand operand);

// Throws std::invalid_argument when the pair has no kernel.
const Product& find_product(Format weights, Operand operand);

// y = x_scale * (sum of the parts in ascending order) + bias.
void sum_parts(const Call& call, cudaStream_t stream);

// Codes and scales of rows [row_offset, row_offset + rows); `largest` is one word of scratch.
void load_weights(const Layout& layout, int group_size, int row_offset, int rows, Format dtype, const void* source,
                  uint8_t* codes, uint8_t* scales, uint32_t* largest, cudaStream_t stream);
// The same from codes and scales on the device, for formats of 8 and 4 bits.
void load_codes(const Layout& layout, int group_size, int row_offset, const CodedRows& source, uint8_t* codes, uint8_t* scales,
                cudaStream_t stream);

// x [tokens, cols] in the form that a matrix takes.
void prepare_activations(const PreparedForm& form, const float* x, int tokens, const Prepared& to, cudaStream_t stream);

}  // namespace kvant::cuda::linear
