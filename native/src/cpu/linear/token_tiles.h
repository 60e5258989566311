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

struct TokenTile {
  int64_t first, width;
};

// Width of the tile that starts at token `first` of `tokens`.
KVANT_ALWAYS_INLINE int64_t tile_width(int64_t first, int64_t tokens) {
  int64_t width = kTokenTile;
  while (width > tokens - first) width /= 2;
  return width;
}

inline TokenTile tile_of(int64_t token, int64_t tokens) {
  TokenTile tile{token / kTokenTile * kTokenTile, 0};
  for (;;) {
    tile.width = tile_width(tile.first, tokens);
    if (token < tile.first + tile.width) return tile;
    tile.first += tile.width;
  }
}

}  // namespace kvant::linear
