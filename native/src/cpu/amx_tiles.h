#pragma once
#include <cstdint>

namespace kvant {

// What _tile_loadconfig takes to make all eight tile registers 16 rows of 64 bytes.
// Source: Intel 64 and IA-32 Architectures SDM, volume 2A, LDTILECFG.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileConfig kTileConfig;

}  // namespace kvant
