#include "cpu/quantize/add_product.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <vector>

namespace kvant {
namespace {

// Both are part of the result: of the order of additions, and of what `lower_only` leaves out.
constexpr int64_t kTileDepth = 256;
constexpr int64_t kTileSide = 64;

// Multiplications below which waking other threads takes longer than they save.
constexpr double kParallelWork = 1 << 21;

struct Tile {
  int64_t row, col;
};

std::vector<Tile> tiles_of(const Product& product) {
  std::vector<Tile> tiles;
  for (int64_t row = 0; row < product.rows; row += kTileSide) {
    const int64_t cols = product.lower_only ? std::min(product.cols, row + kTileSide) : product.cols;
    for (int64_t col = 0; col < cols; col += kTileSide) tiles.push_back({row, col});
  }
  return tiles;
}

Lanes lanes_from(Lanes lanes, int64_t lane, int64_t depth) {
  const int64_t offset = lane * lanes.lane_stride + depth * lanes.depth_stride;
  const int64_t bytes = offset * static_cast<int64_t>(lanes.is_float64 ? sizeof(double) : sizeof(float));
  lanes.data = static_cast<const uint8_t*>(lanes.data) + bytes;
  return lanes;
}

ProductTarget target_from(ProductTarget target, Tile tile) {
  target.data += tile.row * target.row_stride + tile.col * target.col_stride;
  return target;
}

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

double* ProductScratch::reserve(int64_t count) {
  const size_t bytes = static_cast<size_t>(count) * sizeof(double);
  if (memory_.bytes() < bytes) memory_ = PageMemory(bytes, "the operands of a matrix product");
  return memory_.as<double>();
}

void add_product(const Product& product, const QuantizeKernels& kernels, ThreadPool& pool, ProductScratch& scratch) {
  if (product.rows == 0 || product.cols == 0 || product.depth == 0) return;
  const std::vector<Tile> tiles = tiles_of(product);
  const double work = static_cast<double>(tiles.size()) * kTileSide * kTileSide * static_cast<double>(product.depth);
  const bool parallel = pool.threads() > 1 && work >= kParallelWork;

  const int64_t strip_depth = std::min(kTileDepth, product.depth);
  const int64_t strip_count = (product.cols + kernels.right_width - 1) / kernels.right_width;
  const int64_t right_size = round_up(strip_count * kernels.right_width * strip_depth, 8);
  const int64_t left_size = kTileSide * strip_depth;
  double* const right = scratch.reserve(right_size + left_size * (parallel ? pool.threads() : 1));
  double* const lefts = right + right_size;

  std::optional<ThreadPoolStep> awake;
  if (parallel) awake.emplace(pool);
  const auto run = [&](int64_t count, const std::function<void(int64_t, int64_t, int)>& body) {
    if (parallel) pool.parallel_for(count, 1, body);
    else body(0, count, 0);
  };
  for (int64_t p = 0; p < product.depth; p += kTileDepth) {
    const int64_t depth = std::min(kTileDepth, product.depth - p);
    const auto pack_right = [&](int64_t begin, int64_t end, int) {
      const int64_t col = begin * kernels.right_width;
      const int64_t count = std::min(end * kernels.right_width, product.cols) - col;
      kernels.pack_right(lanes_from(product.right, col, p), count, depth, right + col * depth);
    };
    run(strip_count, std::ref(pack_right));
    const auto add_tiles = [&](int64_t begin, int64_t end, int thread) {
      double* const left = lefts + thread * left_size;
      for (int64_t index = begin; index < end; index++) {
        const Tile tile = tiles[static_cast<size_t>(index)];
        const int64_t rows = std::min(kTileSide, product.rows - tile.row);
        const int64_t cols = std::min(kTileSide, product.cols - tile.col);
        // Tiles of a range follow each other along the rows.
        if (index == begin || tile.col == 0) kernels.pack_left(lanes_from(product.left, tile.row, p), rows, depth, left);
        kernels.add_tile(left, right + tile.col * depth, rows, cols, depth, product.sign, target_from(product.target, tile));
      }
    };
    run(static_cast<int64_t>(tiles.size()), std::ref(add_tiles));
  }
}

}  // namespace kvant
