#include "grid.h"

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "cpu/quantize/quantize_absmax.h"
#include "plan/error.h"

namespace kvant::cuda::quantize {
namespace {

Format float_format(const std::string& name) {
  if (name == "e4m3") return Format::e4m3;
  return name == "e5m2" ? Format::e5m2 : Format::e2m1;
}

}  // namespace

Grid grid_of(const GridFormat& from, int64_t cols) {
  const CodeFormat* const code = code_format(from.format);
  if (code == nullptr) throw Error("OP_UNSUPPORTED", "there is no quantization on CUDA to " + from.format);
  if (from.group_size == 0 || from.group_size < -2) {
    throw invalid("groupSize is " + std::to_string(from.group_size) + ", must be -2, -1 or a number of columns");
  }
  const bool integer = from.format.rfind("int", 0) == 0;
  if (from.affine && !integer) throw Error("OP_UNSUPPORTED", from.format + " has no zero points");
  Grid grid{};
  grid.kind = from.affine ? Grid::Kind::affine : integer ? Grid::Kind::integer : Grid::Kind::floating;
  if (from.scale_format == "e8m0") grid.scale_kind = Grid::ScaleKind::power;
  else if (from.scale_format == "e4m3") grid.scale_kind = Grid::ScaleKind::e4m3;
  else if (from.scale_format.empty()) grid.scale_kind = Grid::ScaleKind::fp32;
  else throw Error("OP_UNSUPPORTED", "there are no scales of " + from.scale_format + " on CUDA");
  grid.format = float_format(from.format);
  grid.max = code->limit;
  grid.element_exponent = std::ilogb(code->limit);
  grid.stored_bits = code->stored_bits;
  grid.has_groups = from.group_size > 0;
  grid.group_cols = grid.has_groups ? std::min(from.group_size, std::max<int64_t>(cols, 1)) : std::max<int64_t>(cols, 1);
  grid.row_scales = from.group_size == -2 ? 0 : grid.groups(cols);
  return grid;
}

float tensor_scale_of(const Grid& grid, float largest) {
  if (grid.scale_kind != Grid::ScaleKind::e4m3) return 0;
  const float scale = std::min(largest, FLT_MAX) / grid.max;
  return scale / max_value(Format::e4m3);
}

}  // namespace kvant::cuda::quantize

namespace kvant {

CodedSizes coded_sizes(const GridFormat& format, int64_t rows, int64_t width) {
  const cuda::quantize::Grid grid = cuda::quantize::grid_of(format, width);
  return {rows * grid.row_bytes(width), grid.scale_count(rows, width)};
}

}  // namespace kvant
