#pragma once
#include <cstdint>
#include <vector>

#include "kvant/coded_rows.h"
#include "packed_layout.h"

namespace kvant::linear {

// What maps the codes of a group to values.
struct GroupScale {
  float scale = 0;
  float zero = 0;    // affine: the code of zero
  uint8_t code = 0;  // e8m0 and e4m3: the scale as held
};

// A row of a matrix as it is packed, whether its codes were quantized here or arrived as they are.
struct CodedRow {
  explicit CodedRow(const PackedLayout& layout)
      : codes(static_cast<size_t>(layout.cols)), groups(static_cast<size_t>(layout.group_count)) {}

  std::vector<int8_t> codes;       // [K]; of 4-bit codes the upper half is of no account
  std::vector<GroupScale> groups;  // [groups of a row]
};

// Row `index` of `rows`.
void read_row(const PackedLayout& layout, const MatrixSpec& spec, const CodedRows& rows, int64_t index, CodedRow& out);

}  // namespace kvant::linear
