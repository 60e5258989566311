// x_code[t, k] = clamp(round(x[t, k] / scale[t]), -127, 127);  scale[t] = absmax(x[t]) / 127 or static, float32 divisions.
// Reads T * K values, writes T * K codes (int8) or values (float).
#include "prepare_activations.h"

#include <cstring>

namespace kvant::linear {
namespace {

constexpr size_t align(size_t bytes) { return (bytes + 63) / 64 * 64; }

// Columns prepared at a time: a buffer that stays in the first-level cache, a multiple of kColumnUnit.
constexpr int64_t kChunk = 512;

void prepare_floats(const PackedLayout& layout, Format activation, const LinearKernels& kernels, const float* x, int64_t width,
                    float* out) {
  for (int64_t group = 0; group < layout.group_count; group++) {
    const int64_t first = group * layout.group_cols;
    const int64_t rest = layout.cols - first;
    const int64_t columns = rest < layout.group_cols ? rest : layout.group_cols;
    float* to = out + group * layout.group_stride * width;
    for (int64_t k = 0; k < columns; k += kChunk) {
      const int64_t size = columns - k < kChunk ? columns - k : kChunk;
      const float* from = x + first + k;
      float rounded[kChunk];
      if (activation != Format::fp32) {
        (activation == Format::bf16 ? kernels.round_bf16 : kernels.round_fp16)(from, size, rounded);
        from = rounded;
      }
      if (width == 1) {
        std::memcpy(to + k, from, static_cast<size_t>(size) * sizeof(float));
      } else {
        for (int64_t i = 0; i < size; i++) to[(k + i) * width] = from[i];
      }
    }
    for (int64_t k = columns; k < layout.padded_group(group); k++) to[k * width] = 0;
  }
}

int32_t sum_of(const int8_t* codes, int64_t count) {
  int32_t sum = 0;
  for (int64_t k = 0; k < count; k++) sum += codes[k];
  return sum;
}

void prepare_int8(const PackedLayout& layout, const LinearKernels& kernels, const float* x, float scale, int64_t width,
                  int8_t* out, int32_t* sums) {
  for (int64_t group = 0; group < layout.group_count; group++) {
    const int64_t first = group * layout.group_cols;
    const int64_t rest = layout.cols - first;
    const int64_t columns = rest < layout.group_cols ? rest : layout.group_cols;
    const int64_t padded = layout.padded_group(group);
    int8_t* to = out + group * layout.group_stride * width;
    int32_t sum = 0;
    for (int64_t k = 0; k < padded; k += kChunk) {
      const int64_t size = padded - k < kChunk ? padded - k : kChunk;
      const int64_t given = columns - k < size ? columns - k : size;
      alignas(64) int8_t codes[kChunk];
      if (scale > 0) {
        kernels.quantize(x + first + k, given, scale, max_value(Format::int8), codes);
      } else {
        std::memset(codes, 0, static_cast<size_t>(given));
      }
      std::memset(codes + given, 0, static_cast<size_t>(size - given));
      sum += sum_of(codes, size);
      if (width == 1) {
        std::memcpy(to + k, codes, static_cast<size_t>(size));
      } else {
        for (int64_t i = 0; i < size; i += 4) std::memcpy(to + (k + i) * width, codes + i, 4);
      }
    }
    sums[group * width] = sum;
  }
}

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
  for (int64_t token = begin; token < end; token++) {
    const TokenTile tile = tile_of(token, tokens);
    const int64_t in_tile = token - tile.first;
    const float* row = x + token * ldx;
    const int64_t values = tile.first * layout.padded_cols;
    if (activation != Format::int8) {
      prepare_floats(layout, activation, kernels, row, tile.width, reinterpret_cast<float*>(prepared) + values + in_tile);
      continue;
    }
    const float scale =
        static_scale > 0 ? static_scale : kernels.absmax(row, layout.cols) / max_value(Format::int8);
    reinterpret_cast<float*>(prepared + parts.scales)[token] = scale;
    prepare_int8(layout, kernels, row, scale, tile.width, reinterpret_cast<int8_t*>(prepared) + values + in_tile * 4,
                 reinterpret_cast<int32_t*>(prepared + parts.sums) + tile.first * layout.group_count + in_tile);
  }
}

}  // namespace kvant::linear
