// y[t, n] = sum_g scale[n, g] * sum_{k in g} x[t, k] * (w[n, k] - zero[n, g]) (* x_scale[t]) + bias[n]
//
// The obvious version, for machines without vector kernels and as the native yardstick of the others. Shapes and layouts:
// packed_layout.h, token_tiles.h. A unit of 8 columns x 16 features is decoded once per tile of tokens. With int8
// activations the inner sum is an exact int32, and the outer sum takes the same float32 steps as in every other tier.
// Moves N * K codes once per tile of 8 tokens, 2 * T * N * K operations.
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "float_codes.h"
#include "kernel_table.h"
#include "token_tiles.h"

namespace kvant::linear {
namespace {

constexpr int kUnit = static_cast<int>(kColumnUnit);
constexpr int kLanes = static_cast<int>(kLinearBlock);

// Decodes 8 columns x 16 features.
template <Format F, class Value>
void decode_unit(const uint8_t* codes, Value (&values)[kUnit][kLanes]) {
  for (int k = 0; k < kUnit; k++) {
    for (int lane = 0; lane < kLanes; lane++) {
      if constexpr (F == Format::fp32) {
        std::memcpy(&values[k][lane], codes + (k * kLanes + lane) * 4, 4);
      } else if constexpr (F == Format::bf16) {
        uint16_t code;
        std::memcpy(&code, codes + (k / 2 * kLanes + lane) * 4 + k % 2 * 2, 2);
        values[k][lane] = std::bit_cast<float>(static_cast<uint32_t>(code) << 16);
      } else if constexpr (F == Format::fp16) {
        uint16_t code;
        std::memcpy(&code, codes + (k * kLanes + lane) * 2, 2);
        values[k][lane] = decode_float(code, F);
      } else if constexpr (F == Format::e4m3 || F == Format::e5m2) {
        values[k][lane] = decode_float(codes[k * kLanes + lane], F);
      } else if constexpr (F == Format::int8) {
        values[k][lane] = static_cast<Value>(codes[(k / 4 * kLanes + lane) * 4 + k % 4] - 128);
      } else {
        const int nibble = codes[lane * 4 + k % 4] >> (k / 4 * 4) & 15;
        values[k][lane] = F == Format::int4 ? static_cast<Value>(nibble - 8) : static_cast<Value>(decode_float(nibble, F));
      }
    }
  }
}

// scales: of one group; tensor: the block's tensor scales, e4m3 only.
template <Scales S>
void decode_scales(const uint8_t* from, const uint8_t* tensor, float (&scales)[kLanes]) {
  if constexpr (S == Scales::fp32 || S == Scales::affine) {
    std::memcpy(scales, from, sizeof scales);
  } else {
    float factors[kLanes];
    std::memcpy(factors, tensor, sizeof factors);
    for (int lane = 0; lane < kLanes; lane++) {
      scales[lane] = S == Scales::e8m0 ? decode_e8m0(from[lane]) : decode_float(from[lane], Format::e4m3) * factors[lane];
    }
  }
}

// Sum is float or int32_t, by the activations.
template <Format F, class Sum, Scales S = Scales::fp32>
void run(const PackedLayout& layout, const LinearCall& call) {
  constexpr bool kInt8 = sizeof(Sum) == sizeof(int32_t) && !std::is_same_v<Sum, float>;
  const size_t unit_bytes = layout.code_bytes(kColumnUnit);
  for (int64_t block = call.block_begin; block < call.block_end; block++) {
    const int64_t lanes = block * kLanes + kLanes <= layout.rows ? kLanes : layout.rows - block * kLanes;
    for (int64_t first = 0, width; first < call.tokens; first += width) {
      width = tile_width(first, call.tokens);
      float total[kTokenTile][kLanes] = {};
      for (int64_t group = 0; group < layout.group_count; group++) {
        const uint8_t* codes = call.weights + block * layout.block_bytes + group * layout.group_bytes;
        const int64_t columns = layout.padded_group(group);
        const uint8_t* scales_at = codes + layout.code_bytes(columns);
        const int8_t* zeros = reinterpret_cast<const int8_t*>(scales_at + kLanes * sizeof(float));  // affine only
        Sum sum[kTokenTile][kLanes] = {};
        for (int64_t column = 0; column < columns; column += kUnit, codes += unit_bytes) {
          Sum values[kUnit][kLanes];
          decode_unit<F>(codes, values);
          if constexpr (S == Scales::affine) {
            for (auto& column_values : values) {
              for (int lane = 0; lane < kLanes; lane++) column_values[lane] -= static_cast<Sum>(zeros[lane]);
            }
          }
          const int64_t at = first * layout.padded_cols + (group * layout.group_stride + column) * width;
          for (int k = 0; k < kUnit; k++) {
            for (int64_t t = 0; t < width; t++) {
              Sum x;
              if constexpr (kInt8) {
                x = static_cast<const int8_t*>(call.x)[at + (k / 4 * width + t) * 4 + k % 4];
              } else {
                x = static_cast<const float*>(call.x)[at + k * width + t];
              }
              for (int lane = 0; lane < kLanes; lane++) sum[t][lane] += x * values[k][lane];
            }
          }
        }
        float scales[kLanes];
        decode_scales<S>(scales_at, call.weights + (block + 1) * layout.block_bytes - sizeof scales, scales);
        for (int64_t t = 0; t < width; t++) {
          for (int lane = 0; lane < kLanes; lane++) {
            total[t][lane] = std::fma(static_cast<float>(sum[t][lane]), scales[lane], total[t][lane]);
          }
        }
      }
      for (int64_t t = 0; t < width; t++) {
        const float scale = kInt8 ? call.x_scales[first + t] : 1.0f;
        float* y = call.y + (first + t) * call.ldy + block * kLanes;
        for (int64_t lane = 0; lane < lanes; lane++) {
          y[lane] = std::fma(total[t][lane], scale, call.bias ? call.bias[block * kLanes + lane] : 0.0f);
        }
      }
    }
  }
}

float absmax(const float* x, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; i++) largest = std::fabs(x[i]) > largest ? std::fabs(x[i]) : largest;
  return largest < max_value(Format::fp32) ? largest : max_value(Format::fp32);
}

void quantize(const float* x, int64_t count, float scale, float limit, int8_t* codes) {
  // Floats in [2^23, 2^24) are one apart: the addition rounds to an integer, ties to even.
  constexpr float kSpacing = 12582912.0f;
  for (int64_t i = 0; i < count; i++) {
    const float quotient = x[i] / scale;
    const float number = quotient == quotient ? quotient : 0.0f;
    const float low = number < limit ? number : limit;
    const float clamped = low > -limit ? low : -limit;
    codes[i] = static_cast<int8_t>(static_cast<int32_t>((clamped + kSpacing) - kSpacing));
  }
}

template <Format F>
void round_to(const float* x, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i++) out[i] = decode_float(encode_float(x[i], float_definition(F)), F);
}

}  // namespace

const LinearKernels kernels_scalar = {
    .products = {{.float_activations = {run<Format::fp32, float>, run<Format::bf16, float>, run<Format::fp16, float>,
                                        run<Format::int8, float>, run<Format::int4, float>, run<Format::e4m3, float>,
                                        run<Format::e5m2, float>, run<Format::e2m1, float>},
                  .int8_activations = {nullptr, nullptr, nullptr, run<Format::int8, int32_t>, run<Format::int4, int32_t>,
                                       nullptr, nullptr, nullptr}},
                 {.float_activations = {nullptr, nullptr, nullptr, run<Format::int8, float, Scales::affine>,
                                        run<Format::int4, float, Scales::affine>, nullptr, nullptr, nullptr},
                  .int8_activations = {nullptr, nullptr, nullptr, run<Format::int8, int32_t, Scales::affine>,
                                       run<Format::int4, int32_t, Scales::affine>, nullptr, nullptr, nullptr}},
                 {.float_activations = {nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                                        run<Format::e2m1, float, Scales::e8m0>},
                  .int8_activations = {}},
                 {.float_activations = {nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                                        run<Format::e2m1, float, Scales::e4m3>},
                  .int8_activations = {}}},
    .absmax = absmax,
    .quantize = quantize,
    .round_bf16 = round_to<Format::bf16>,
    .round_fp16 = round_to<Format::fp16>,
};

}  // namespace kvant::linear
