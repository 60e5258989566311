// AVX2 with AVX-VNNI: as the AVX2 tier, but int8 activations go through vpdpbusd, which multiplies four unsigned by four
// signed bytes and adds them to an int32 without saturation.
#include <immintrin.h>

#include <utility>

#include "kernel_table.h"
#include "row_passes.h"
#include "token_tiles.h"

namespace kvant::linear {
namespace {

#include "product.inc.h"

#include "decoders_256.inc.h"

struct Unit {
  __m256i low, high;  // columns 0..3 and 4..7
};

// Written as the instruction: GCC 12 copies the sums of the intrinsic from register to register and keeps some in memory.
KVANT_ALWAYS_INLINE void dot(__m256i& sum, __m256i w, __m256i x) {
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(w), "x"(x));
}

__m256i dot_unit(__m256i sum, const Unit& w, __m256i x_low, __m256i x_high) {
  dot(sum, w.low, x_low);
  dot(sum, w.high, x_high);
  return sum;
}

struct Int8Codes {
  using Unit = linear::Unit;
  static constexpr int32_t kOffset = 128;
  static Unit unit(const uint8_t* codes) { return {load_half(codes, 0), load_half(codes, 1)}; }
  static __m256i dot(__m256i sum, const Unit& w, __m256i low, __m256i high) { return dot_unit(sum, w, low, high); }
};

struct Int4Codes {
  using Unit = linear::Unit;
  static constexpr int32_t kOffset = 8;
  static Unit unit(const uint8_t* codes) {
    const __m256i pairs = load_half(codes, 0), mask = _mm256_set1_epi8(15);
    return {_mm256_and_si256(pairs, mask), _mm256_and_si256(_mm256_srli_epi32(pairs, 4), mask)};
  }
  static __m256i dot(__m256i sum, const Unit& w, __m256i low, __m256i high) { return dot_unit(sum, w, low, high); }
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

const LinearKernels kernels_avxvnni = {
    .products = {symmetric_products<Simd, Decoders>, affine_products<Simd, Decoders>,
                 fp4_products<Simd, Decoders, Scales::e8m0>, fp4_products<Simd, Decoders, Scales::e4m3>},
    .absmax = absmax_avx2,
    .quantize = quantize_avx2,
    .round_bf16 = round_bf16_avx2,
    .round_fp16 = round_fp16_avx2,
};

}  // namespace kvant::linear
