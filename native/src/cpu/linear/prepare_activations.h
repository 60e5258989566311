#pragma once
#include "kernel_table.h"
#include "packed_layout.h"
#include "token_tiles.h"

namespace kvant::linear {

// Where the parts of prepared activations lie, in bytes; every part is 64-byte aligned.
//
// A tile register that takes the last columns of the last tile of 16 tokens (token_tiles.h) reads up to 56 bytes past the
// values: scales follow them, at least 64 bytes.
static_assert(kTileRegisterRows * sizeof(float) >= kTileRegisterColumns - kColumnUnit);
struct PreparedLayout {
  PreparedLayout(const PackedLayout& layout, Format activation, int64_t tokens);
  size_t scales = 0;  // [tokens], int8 only; values come first
  size_t sums = 0;    // [tile][group][token of the tile], int8 only
  size_t bytes = 0;
};

// Writes tokens [begin, end) of x [tokens, cols] as token_tiles.h says: rounded to bf16 or fp16, or quantized to int8.
// static_scale 0: scale = absmax(x[t]) / 127, else that scale.
void prepare_activations(const PackedLayout& layout, Format activation, float static_scale, const LinearKernels& kernels,
                         const float* x, int64_t ldx, int64_t tokens, int64_t begin, int64_t end, uint8_t* prepared);

}  // namespace kvant::linear
