#pragma once
#include <cstddef>
#include <cstdint>

#include "kvant/linear.h"

namespace kvant::linear {

// Columns of a group are padded to a multiple of this many, so that every format moves whole 64-byte lines.
constexpr int64_t kColumnUnit = 8;

// Tier files call these few functions too. They are always inlined, so that no copy compiled with a tier's instructions can
// end up being the one that the linker keeps for everybody.
#define KVANT_ALWAYS_INLINE inline __attribute__((always_inline))

// Bytes from one feature's codes to the next feature's: the word drawn below.
KVANT_ALWAYS_INLINE constexpr int64_t word_bytes(Format format) {
  return format == Format::fp16 ? 2 : format == Format::e4m3 || format == Format::e5m2 ? 1 : 4;
}

// Bytes of the scales of one group of one block.
KVANT_ALWAYS_INLINE constexpr int64_t scale_bytes(Scales scales) {
  return kLinearBlock * (scales == Scales::fp32 ? 4 : scales == Scales::affine ? 5 : 1);
}

// A packed matrix is one array, read front to back by a matrix-vector product, the same in every tier:
//
//   block (16 features) -> group -> [codes][scales]
//                       -> [16 tensor scales, float32], e4m3 scales only
//   codes: [padded columns / columns per word][16 features][word]
//
//   fp32        word of 4 bytes: 1 column
//   bf16        word of 4 bytes: 2 columns, lower half first
//   fp16        word of 2 bytes: 1 column
//   e4m3, e5m2  word of 1 byte:  1 column
//   int8        word of 4 bytes: 4 columns, each code + 128
//   int4, e2m1  word of 4 bytes: 8 columns; byte i holds column i in its low and column i + 4 in its high nibble; int4 codes + 8
//
//   scales  fp32: 16 float32; affine: 16 float32, then 16 int8 codes of zero; e8m0, e4m3: 16 bytes
//
// One scale per row, per tensor or none is one group as wide as the row; without scales the factors are 1. Padding columns
// hold zero bytes and meet zero activations.
struct PackedLayout {
  explicit PackedLayout(const MatrixSpec& spec)
      : rows(spec.rows),
        cols(spec.cols),
        code_bits(bits(spec.format)),
        group_cols(spec.group_size > 0 && spec.group_size < spec.cols ? spec.group_size : spec.cols),
        group_stride(pad_columns(group_cols)),
        group_count((cols + group_cols - 1) / group_cols),
        padded_cols((group_count - 1) * group_stride + pad_columns(cols - (group_count - 1) * group_cols)),
        scale_bytes(linear::scale_bytes(spec.scales)),
        group_bytes(code_bytes(group_stride) + scale_bytes),
        block_bytes(code_bytes(padded_cols) + group_count * scale_bytes +
                    (spec.scales == Scales::e4m3 ? kLinearBlock * sizeof(float) : 0)),
        block_count((rows + kLinearBlock - 1) / kLinearBlock) {}

  static constexpr int64_t pad_columns(int64_t count) { return (count + kColumnUnit - 1) / kColumnUnit * kColumnUnit; }
  // Bytes of the codes of one block over `columns` padded columns.
  size_t code_bytes(int64_t columns) const { return static_cast<size_t>(columns * kLinearBlock * code_bits / 8); }
  // Padded columns of a group: group_stride, less in a ragged last group.
  KVANT_ALWAYS_INLINE int64_t padded_group(int64_t group) const {
    const int64_t rest = padded_cols - group * group_stride;
    return rest < group_stride ? rest : group_stride;
  }

  int64_t rows, cols;
  int64_t code_bits;
  int64_t group_cols;    // columns that share a scale
  int64_t group_stride;  // the same, padded
  int64_t group_count;
  int64_t padded_cols;  // of a whole row
  size_t scale_bytes;   // of one group of one block
  size_t group_bytes;   // of a whole group of one block, codes and scales
  size_t block_bytes;
  int64_t block_count;
};

}  // namespace kvant::linear
