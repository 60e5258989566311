#include "coded_row.h"

#include <cstring>

namespace kvant::linear {

void read_row(const PackedLayout& layout, const MatrixSpec& spec, const CodedRows& rows, int64_t index, CodedRow& out) {
  const int code_bits = bits(spec.format);
  const uint8_t* const codes = rows.codes + index * code_row_bytes(code_bits, layout.cols);
  if (code_bits == 8) {
    std::memcpy(out.codes.data(), codes, out.codes.size());
  } else {
    for (size_t k = 0; k < out.codes.size(); k++) out.codes[k] = static_cast<int8_t>(codes[k / 2] >> (k % 2 * 4) & 15);
  }
  for (int64_t group = 0; group < layout.group_count; group++) {
    const int64_t at = spec.group_size == -2 ? 0 : index * layout.group_count + group;
    GroupScale& to = out.groups[static_cast<size_t>(group)];
    if (rows.scales != nullptr) to.scale = rows.scales[at];
    if (rows.zeros != nullptr) to.zero = rows.zeros[at];
    if (rows.scale_codes != nullptr) to.code = rows.scale_codes[at];
  }
}

}  // namespace kvant::linear
