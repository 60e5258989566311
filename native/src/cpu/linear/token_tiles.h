#pragma once
#include <cstdint>

#include "packed_layout.h"

namespace kvant::linear {

// Tokens are multiplied in tiles of 8, and what is left in tiles of 4, 2 and 1. Activations of a tile are interleaved, so
// that a kernel reads them through one pointer:
//
//   floats: [tile][padded column][token of the tile]                 float32
//   int8:   [tile][padded column / 4][token of the tile][4 columns]  int8
//
// The tile that starts at token t begins at t * padded_cols values.
constexpr int64_t kTokenTile = 8;

// Kernels with tile registers take int8 activations in tiles of 16 before those of 8:
//
//   int8:   [tile][padded column / 64][16 tokens][64 columns]  int8
//
// with as many columns as are left in the last 64. Those few leave a tile register that is loaded with rows of 64 holding
// bytes of the next rows, or of what lies behind the activations (PreparedLayout); they meet weights of zero.
constexpr int64_t kTileRegisterRows = 16;
constexpr int64_t kTileRegisterColumns = 64;

// Bytes from one token to the next in the columns of such a tile that begin at `column`, a multiple of 64.
KVANT_ALWAYS_INLINE int64_t tile_register_stride(int64_t column, int64_t padded_cols) {
  const int64_t left = padded_cols - column;
  return left < kTileRegisterColumns ? left : kTileRegisterColumns;
}

struct TokenTile {
  int64_t first, width;
};

// Width of the tile that starts at token `first` of `tokens`.
KVANT_ALWAYS_INLINE int64_t tile_width(int64_t first, int64_t tokens, int64_t widest = kTokenTile) {
  int64_t width = widest;
  while (width > tokens - first) width /= 2;
  return width;
}

inline TokenTile tile_of(int64_t token, int64_t tokens, int64_t widest) {
  TokenTile tile{token / widest * widest, 0};
  for (;;) {
    tile.width = tile_width(tile.first, tokens, widest);
    if (token < tile.first + tile.width) return tile;
    tile.first += tile.width;
  }
}

}  // namespace kvant::linear
