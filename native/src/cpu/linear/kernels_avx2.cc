// AVX2, FMA and F16C: a block of 16 features is two registers. Int8 activations go through vpmaddubsw, whose int16 pairs
// must not saturate: |w| * (x with the sign of w) is at most 128 * 127 per product, 32512 for two, and 4-bit codes at most
// 15 * 127.
#include <immintrin.h>

#include <utility>

#include "kernel_table.h"
#include "row_passes.h"
#include "token_tiles.h"

namespace kvant::linear {
namespace {

#include "product.inc.h"

#include "decoders_256.inc.h"

__m256i add_pairs(__m256i sum, __m256i pairs) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

struct Int8Codes {
  struct Unit {
    __m256i low, high, low_magnitude, high_magnitude;
  };
  static constexpr int32_t kOffset = 0;  // taken off again in unit()
  static Unit unit(const uint8_t* codes) {
    const __m256i offset = _mm256_set1_epi8(static_cast<char>(0x80));
    const __m256i low = _mm256_xor_si256(load_half(codes, 0), offset), high = _mm256_xor_si256(load_half(codes, 1), offset);
    return {low, high, _mm256_abs_epi8(low), _mm256_abs_epi8(high)};
  }
  static __m256i dot(__m256i sum, const Unit& w, __m256i low, __m256i high) {
    sum = add_pairs(sum, _mm256_maddubs_epi16(w.low_magnitude, _mm256_sign_epi8(low, w.low)));
    return add_pairs(sum, _mm256_maddubs_epi16(w.high_magnitude, _mm256_sign_epi8(high, w.high)));
  }
};

// Two int16 sums of pairs of 4-bit codes still fit: 4 * 15 * 127 = 7620.
struct Int4Codes {
  struct Unit {
    __m256i low, high;
  };
  static constexpr int32_t kOffset = 8;
  static Unit unit(const uint8_t* codes) {
    const __m256i pairs = load_half(codes, 0), mask = _mm256_set1_epi8(15);
    return {_mm256_and_si256(pairs, mask), _mm256_and_si256(_mm256_srli_epi32(pairs, 4), mask)};
  }
  static __m256i dot(__m256i sum, const Unit& w, __m256i low, __m256i high) {
    return add_pairs(sum, _mm256_add_epi16(_mm256_maddubs_epi16(w.low, low), _mm256_maddubs_epi16(w.high, high)));
  }
};

struct Decoders {
  using Fp32 = Fp32Weights;
  using Bf16 = Bf16Weights;
  using Fp16 = Fp16Weights;
  using Int8 = Int8Weights;
  using Int4 = Int4Weights;
  using E4m3 = Fp8Weights<true>;
  using E5m2 = Fp8Weights<false>;
  using E2m1 = E2m1Weights;
  using Int8Codes = linear::Int8Codes;
  using Int4Codes = linear::Int4Codes;
};

}  // namespace

const LinearKernels kernels_avx2 = {
    .products = {symmetric_products<Simd, Decoders>, affine_products<Simd, Decoders>,
                 fp4_products<Simd, Decoders, Scales::e8m0>, fp4_products<Simd, Decoders, Scales::e4m3>},
    .absmax = absmax_avx2,
    .quantize = quantize_avx2,
    .round_bf16 = round_bf16_avx2,
    .round_fp16 = round_fp16_avx2,
};

}  // namespace kvant::linear
