#include "layout.h"

#include <algorithm>

namespace kvant::cuda::linear {
namespace {

int round_up(int64_t value, int unit) { return static_cast<int>((value + unit - 1) / unit * unit); }

}  // namespace

Layout::Layout(const MatrixSpec& spec)
    : format(spec.format),
      rows(static_cast<int>(spec.rows)),
      cols(static_cast<int>(spec.cols)),
      group_cols(static_cast<int>(spec.group_size > 0 ? std::min<int64_t>(spec.group_size, spec.cols) : spec.cols)),
      group_stride(round_up(group_cols, kUnitColumns)),
      groups((cols + group_cols - 1) / group_cols),
      padded_rows(round_up(spec.rows, kBlockRows)),
      padded_cols(round_up(static_cast<int64_t>(groups) * group_stride, kChunkColumns)),
      chunks(padded_cols / kChunkColumns),
      code_bytes(static_cast<size_t>(padded_rows) * padded_cols * bits(spec.format) / 8),
      scale_bytes(bits(spec.format) > 8 ? 0 : static_cast<size_t>(padded_rows) * groups * sizeof(float)) {
  if (groups == 1) group_stride = padded_cols;
}

}  // namespace kvant::cuda::linear
