#include <immintrin.h>

#include "cpu/amx_tiles.h"
#include "cpu/multiply_peak.h"

namespace kvant::amx_multiply {

// Four products of 16 x 16 x 64 pairs, each into a register of its own, to a round: 65,536 pairs in 64 cycles. A round of the
// AVX-512 VNNI tier is 768 pairs in 6 cycles, so a tenth as many take about as long.
int64_t int8_rounds(int64_t rounds) {
  alignas(64) int8_t operand[1024];
  for (int i = 0; i < 1024; i++) operand[i] = static_cast<int8_t>(i * 37);
  asm volatile("" ::: "memory");  // GCC's _tile_loadd does not say that it reads memory.
  _tile_loadconfig(&kTileConfig);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, operand, 64);
  _tile_loadd(5, operand, 64);
  _tile_loadd(6, operand, 64);
  _tile_loadd(7, operand, 64);
  const int64_t count = rounds / 10;
  for (int64_t i = 0; i < count; i++) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_release();
  return count * 4 * 16 * 16 * 64;
}

}  // namespace kvant::amx_multiply
