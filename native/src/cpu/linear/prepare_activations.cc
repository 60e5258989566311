// x_code[t, k] = clamp(round(x[t, k] / scale[t]), -127, 127);  scale[t] = absmax(x[t]) / 127 or static, float32 divisions.
// Reads T * K values, writes T * K codes (int8) or values (float).
#include "prepare_activations.h"

#include <cstring>

namespace kvant::linear {
namespace {

constexpr size_t align(size_t bytes) { return (bytes + 63) / 64 * 64; }

// Columns prepared at a time: a buffer that stays in the first-level cache, a multiple of kColumnUnit.
constexpr int64_t kChunk = 512;

int32_t sum_of(const int8_t* codes, int64_t count) {
  int32_t sum = 0;
  for (int64_t k = 0; k < count; k++) sum += codes[k];
  return sum;
}

// Some tokens of one tile, a chunk of columns at a time, so that interleaved lines are complete before they leave the cache.
struct Part {
  const PackedLayout& layout;
  const LinearKernels& kernels;
  const float* x;  // first token of the part
  int64_t ldx;
  int64_t count;     // tokens
  int64_t width;     // of the tile
  int64_t in_tile;   // tokens of the tile before the part

  // Calls chunk(first column of x, columns of x, padded columns, padded column) over every group.
  template <class Body>
  void each_chunk(int64_t group, const Body& body) const {
    const int64_t first = group * layout.group_cols;
    const int64_t columns = layout.cols - first < layout.group_cols ? layout.cols - first : layout.group_cols;
    const int64_t padded = layout.padded_group(group);
    for (int64_t k = 0; k < padded; k += kChunk) {
      const int64_t size = padded - k < kChunk ? padded - k : kChunk;
      body(first + k, columns - k < size ? columns - k : size, size, group * layout.group_stride + k);
    }
  }

  // out: the tile.
  void write_floats(Format activation, float* out) const {
    const auto round = activation == Format::bf16 ? kernels.round_bf16 : kernels.round_fp16;
    for (int64_t group = 0; group < layout.group_count; group++) {
      each_chunk(group, [&](int64_t column, int64_t columns, int64_t padded, int64_t at) {
        for (int64_t t = 0; t < count; t++) {
          const float* from = x + t * ldx + column;
          float rounded[kChunk];
          if (activation != Format::fp32) {
            round(from, columns, rounded);
            from = rounded;
          }
          float* to = out + at * width + in_tile + t;
          for (int64_t k = 0; k < columns; k++) to[k * width] = from[k];
          for (int64_t k = columns; k < padded; k++) to[k * width] = 0;
        }
      });
    }
  }

  // scales: [count]; out: the tile; sums: group 0 of the tile.
  void write_int8(const float* scales, int8_t* out, int32_t* sums) const {
    for (int64_t group = 0; group < layout.group_count; group++) {
      int32_t* const group_sums = sums + group * width + in_tile;
      for (int64_t t = 0; t < count; t++) group_sums[t] = 0;
      each_chunk(group, [&](int64_t column, int64_t columns, int64_t padded, int64_t at) {
        for (int64_t t = 0; t < count; t++) {
          alignas(64) int8_t codes[kChunk];
          std::memset(codes, 0, static_cast<size_t>(padded));
          if (scales[t] > 0) kernels.quantize(x + t * ldx + column, columns, scales[t], max_value(Format::int8), codes);
          group_sums[t] += sum_of(codes, padded);
          if (width == kTileRegisterRows) place_rows(codes, padded, at, in_tile + t, out);
          else interleave(codes, padded, out + at * width + (in_tile + t) * 4);
        }
      });
    }
  }

  void interleave(const int8_t* codes, int64_t count, int8_t* to) const {
    if (width == 1) {
      std::memcpy(to, codes, static_cast<size_t>(count));
    } else {
      for (int64_t k = 0; k < count; k += 4) std::memcpy(to + k * width, codes + k, 4);
    }
  }

  void place_rows(const int8_t* codes, int64_t count, int64_t at, int64_t token, int8_t* tile) const {
    for (int64_t k = 0; k < count;) {
      const int64_t column = at + k, first = column / kTileRegisterColumns * kTileRegisterColumns;
      const int64_t stride = tile_register_stride(first, layout.padded_cols);
      const int64_t run = first + stride - column < count - k ? first + stride - column : count - k;
      std::memcpy(tile + first * kTileRegisterRows + token * stride + (column - first), codes + k, static_cast<size_t>(run));
      k += run;
    }
  }
};

}  // namespace

PreparedLayout::PreparedLayout(const PackedLayout& layout, Format activation, int64_t tokens) {
  const size_t values = static_cast<size_t>(tokens * layout.padded_cols);
  if (activation != Format::int8) {
    bytes = align(values * sizeof(float));
    return;
  }
  scales = align(values);
  sums = scales + align(static_cast<size_t>(tokens) * sizeof(float));
  bytes = sums + align(static_cast<size_t>(tokens * layout.group_count) * sizeof(int32_t));
}

void prepare_activations(const PackedLayout& layout, Format activation, float static_scale, const LinearKernels& kernels,
                         const float* x, int64_t ldx, int64_t tokens, int64_t begin, int64_t end, uint8_t* prepared) {
  const PreparedLayout parts(layout, activation, tokens);
  float* scales = reinterpret_cast<float*>(prepared + parts.scales);
  int32_t* sums = reinterpret_cast<int32_t*>(prepared + parts.sums);
  for (int64_t token = begin; token < end;) {
    const TokenTile tile = tile_of(token, tokens, activation == Format::int8 ? kernels.widest_int8_tile : kTokenTile);
    const int64_t in_tile = token - tile.first, tile_end = tile.first + tile.width;
    const int64_t count = (tile_end < end ? tile_end : end) - token;
    const Part part{layout, kernels, x + token * ldx, ldx, count, tile.width, in_tile};
    const int64_t values = tile.first * layout.padded_cols;
    if (activation == Format::int8) {
      for (int64_t t = token; t < token + count; t++) {
        scales[t] = static_scale > 0 ? static_scale : kernels.absmax(x + t * ldx, layout.cols) / max_value(Format::int8);
      }
      part.write_int8(scales + token, reinterpret_cast<int8_t*>(prepared) + values,
                      sums + tile.first * layout.group_count);
    } else {
      part.write_floats(activation, reinterpret_cast<float*>(prepared) + values);
    }
    token += count;
  }
}

}  // namespace kvant::linear
