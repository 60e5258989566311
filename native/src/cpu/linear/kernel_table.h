#pragma once
#include <cstdint>

#include "kvant/format.h"
#include "kvant/tier.h"
#include "packed_layout.h"
#include "token_tiles.h"

namespace kvant::linear {

// One product y[t, n] over the features of blocks [block_begin, block_end).
struct LinearCall {
  const uint8_t* weights;     // packed_layout.h
  const void* x;              // token_tiles.h; float32 or int8
  const float* x_scales;      // [tokens], int8 activations only
  const int32_t* x_sums;      // [tile][group][token of the tile], sums of int8 codes over each group
  const float* bias;          // [rows] or null
  float* y;                   // [tokens, ldy]
  int64_t tokens, ldy;
  int64_t block_begin, block_end;
};

using RunLinear = void (*)(const PackedLayout&, const LinearCall&);

// The product for each weight format; null where there is no kernel.
struct Products {
  RunLinear float_activations[8];  // by Format
  RunLinear int8_activations[8];
};

// What a tier contributes: the products, and the passes over rows of float32 that prepare activations and quantize weights.
struct LinearKernels {
  Products products[4];  // by Scales

  // max |x[i]|; NaN is ignored and infinity counts as the largest float32.
  float (*absmax)(const float* x, int64_t count);
  // codes[i] = nearest integer, ties to even, of clamp(x[i] / scale, -limit, limit); NaN gives 0. scale > 0.
  void (*quantize)(const float* x, int64_t count, float scale, float limit, int8_t* codes);
  // x rounded to bf16 and fp16, nearest even, saturating, as float32. In place is allowed.
  void (*round_bf16)(const float* x, int64_t count, float* out);
  void (*round_fp16)(const float* x, int64_t count, float* out);

  // Tokens of the widest tile of int8 activations, and blocks that meet it together; it takes as long for fewer.
  int64_t widest_int8_tile = kTokenTile;
  int64_t widest_int8_blocks = 1;
};

// Throws std::invalid_argument when this build holds no kernels of the tier.
const LinearKernels& linear_kernels(Tier tier);

extern const LinearKernels kernels_scalar;
extern const LinearKernels kernels_avx2;
extern const LinearKernels kernels_avxvnni;
extern const LinearKernels kernels_avx512vnni;
extern const LinearKernels kernels_neon;
// kernels_avx512vnni, but int8 activations of 16 tokens and more by tile registers. No constant like the others: what fills it
// may only run where the tier is present.
LinearKernels amx_kernels();

}  // namespace kvant::linear
