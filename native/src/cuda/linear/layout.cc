#include "layout.h"

#include <algorithm>

namespace kvant::cuda::linear {
namespace {

int round_up(int64_t value, int unit) { return static_cast<int>((value + unit - 1) / unit * unit); }

int run_bytes(Scales scales) {
  switch (scales) {
    case Scales::fp32: return kTileRows * 4;
    case Scales::affine: return kTileRows * 5;
    case Scales::e8m0: return kTileRows;
    case Scales::e4m3: return kTileRows * 2;
  }
  return 0;
}

// e4m3 scales of 16 columns come in pairs, so that groups are whole units.
int64_t group_of(const MatrixSpec& spec) { return spec.scales == Scales::e4m3 ? kUnitColumns : spec.group_size; }

}  // namespace

Layout::Layout(const MatrixSpec& spec)
    : format(spec.format),
      rows(static_cast<int>(spec.rows)),
      cols(static_cast<int>(spec.cols)),
      group_cols(static_cast<int>(group_of(spec) > 0 ? std::min<int64_t>(group_of(spec), spec.cols) : spec.cols)),
      group_stride(round_up(group_cols, kUnitColumns)),
      groups((cols + group_cols - 1) / group_cols),
      padded_rows(round_up(spec.rows, kBlockRows)),
      padded_cols(round_up(static_cast<int64_t>(groups) * group_stride, kChunkColumns)),
      chunks(padded_cols / kChunkColumns),
      scales(spec.scales),
      scale_run(run_bytes(spec.scales)),
      code_bytes(static_cast<size_t>(padded_rows) * padded_cols * bits(spec.format) / 8),
      scale_bytes(bits(spec.format) > 8 ? 0 : row_scales_at() + (scales == Scales::e4m3 ? static_cast<size_t>(padded_rows) * sizeof(float) : 0)) {
  if (groups == 1) group_stride = padded_cols;
}

}  // namespace kvant::cuda::linear
