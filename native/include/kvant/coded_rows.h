#pragma once
#include <cstdint>

namespace kvant {

// Rows of a weight matrix [rows, K] as codes and scales, in the order of packages/formats `QuantizedTensor`. Scales and codes of
// zero are one for each group of each row, one for each row, or one for all rows, as the matrix's group_size says; the last group
// of a row may be short.
struct CodedRows {
  int64_t rows = 0;
  const uint8_t* codes = nullptr;        // [rows, row bytes] 8-bit codes, or 4-bit codes two per byte, low nibble first
  const float* scales = nullptr;         // Scales::fp32 and affine
  const uint8_t* scale_codes = nullptr;  // Scales::e8m0 and e4m3: [rows, groups]
  const int8_t* zeros = nullptr;         // Scales::affine: the codes of zero, from the smallest to the largest code of the format
  float tensor_scale = 0;                // Scales::e4m3: the factor of all scales
};

// Bytes of a row of K codes of 8 or 4 bits.
constexpr int64_t code_row_bytes(int code_bits, int64_t cols) { return (cols * code_bits + 7) / 8; }

// Scales of `rows` rows, or codes of zero, as CodedRows holds them.
constexpr int64_t scale_count(int group_size, int64_t rows, int64_t cols) {
  if (group_size == -2) return 1;
  return group_size == -1 ? rows : rows * ((cols + group_size - 1) / group_size);
}

}  // namespace kvant
