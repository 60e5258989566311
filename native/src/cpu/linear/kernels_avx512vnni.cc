// AVX-512 F, BW, VL, DQ and VNNI: a block of 16 features is one register. Int8 activations go through vpdpbusd, which
// multiplies four unsigned by four signed bytes and adds them to an int32 without saturation.
#include "cpu/simd/avx512_intrinsics.h"

#include <utility>

#include "kernel_table.h"
#include "row_passes.h"
#include "token_tiles.h"

namespace kvant::linear {
namespace {

#include "product.inc.h"

struct Simd {
  using Float = __m512;
  using Int = __m512i;
  static constexpr int kLanes = 16;
  // 8 x 2 sums hide the latency of the multiplication, and two weights share each broadcast activation. Fewer tokens take
  // four streams of weights for as many independent sums.
  static constexpr int vectors(int tokens) { return tokens == 8 ? 2 : 4; }

  static Float zero() { return _mm512_setzero_ps(); }
  static Float splat(float value) { return _mm512_set1_ps(value); }
  static Float load(const float* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, Float a) { _mm512_storeu_ps(to, a); }
  static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static Float scaled(Float a, float factor) { return factor == 1 ? a : _mm512_mul_ps(a, _mm512_set1_ps(factor)); }
  static Float to_float(Int a) { return _mm512_cvtepi32_ps(a); }
  static Int splat_int(int32_t value) { return _mm512_set1_epi32(value); }
  static Int splat_word(const int8_t* from) {
    int32_t word;
    __builtin_memcpy(&word, from, 4);
    return _mm512_set1_epi32(word);
  }
  static Float load_at(const uint8_t* floats, int64_t lane) { return load(reinterpret_cast<const float*>(floats) + lane); }
  static Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float sub(Float a, Float b) { return _mm512_sub_ps(a, b); }
  static Int sub_product(Int a, Int b, Int c) { return _mm512_sub_epi32(a, _mm512_mullo_epi32(b, c)); }
  static __m128i bytes(const uint8_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); }
  static Int widen_bytes(const uint8_t* from) { return _mm512_cvtepi8_epi32(bytes(from)); }
  // The exponent of a float32 as it is; code 0 is the subnormal 2^-127.
  static Float from_e8m0(const uint8_t* from) {
    const Int pattern = _mm512_slli_epi32(_mm512_cvtepu8_epi32(bytes(from)), 23);
    return _mm512_castsi512_ps(_mm512_max_epi32(pattern, _mm512_set1_epi32(0x00400000)));
  }
  // Codes of scales are not negative; as fp16 they come out 2^8 too small.
  static Float from_e4m3(const uint8_t* from) {
    const __m256i half = _mm256_slli_epi16(_mm256_cvtepu8_epi16(bytes(from)), 7);
    return _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256));
  }
  static void prefetch(const uint8_t* at) { _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T0); }
};

__m512i load_line(const uint8_t* codes, int line) { return _mm512_loadu_si512(codes + line * 64); }

struct Fp32Weights {
  static constexpr float kFactor = 1;
  template <int J>
  static __m512 column(const uint8_t* codes) {
    return _mm512_castsi512_ps(load_line(codes, J));
  }
};

struct Bf16Weights {
  static constexpr float kFactor = 1;
  template <int J>
  static __m512 column(const uint8_t* codes) {
    const __m512i pair = load_line(codes, J / 2);
    return _mm512_castsi512_ps(J % 2 == 0 ? _mm512_slli_epi32(pair, 16)
                                          : _mm512_and_si512(pair, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
  }
};

struct Fp16Weights {
  static constexpr float kFactor = 1;
  template <int J>
  static __m512 column(const uint8_t* codes) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + J * 32)));
  }
};

// Both FP8 formats become fp16 by moving bits: E5M2 is its upper byte; E4M3 takes the fp16 exponent's bias for its own and
// comes out 2^8 too small, subnormals included, which the scale makes good.
template <bool kE4m3>
struct Fp8Weights {
  static constexpr float kFactor = kE4m3 ? 256 : 1;
  template <int J>
  static __m512 column(const uint8_t* codes) {
    // Two columns at a time.
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + J / 2 * 32));
    __m512i half = _mm512_slli_epi16(_mm512_cvtepu8_epi16(bytes), 8);
    if constexpr (kE4m3) half = _mm512_and_si512(_mm512_srai_epi16(half, 1), _mm512_set1_epi16(static_cast<short>(0xbfff)));
    return _mm512_cvtph_ps(J % 2 == 0 ? _mm512_castsi512_si256(half) : _mm512_extracti64x4_epi64(half, 1));
  }
};

// A byte b in the low mantissa bits of 2^23 reads as the float 2^23 + b.
struct Int8Weights {
  static constexpr float kFactor = 1;
  template <int J>
  static __m512 column(const uint8_t* codes) {
    const __m512i word = load_line(codes, J / 4);
    const __m512i byte = J % 4 == 0 ? word : _mm512_srli_epi32(word, J % 4 * 8);
    constexpr int kAndThenOr = 0xea;
    const __m512i number =
        _mm512_ternarylogic_epi32(byte, _mm512_set1_epi32(255), _mm512_set1_epi32(0x4b000000), kAndThenOr);
    return _mm512_sub_ps(_mm512_castsi512_ps(number), _mm512_set1_ps(8388608.0f + 128.0f));
  }
};

// vpermps looks at the low four bits of a lane: it is the table of a 4-bit format.
template <bool kInteger>
struct NibbleWeights {
  static constexpr float kFactor = 1;
  template <int J>
  static __m512 column(const uint8_t* codes) {
    const __m512 table = kInteger ? _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7)
                                  : _mm512_setr_ps(0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6);
    constexpr int kShift = J % 4 * 8 + J / 4 * 4;
    const __m512i word = load_line(codes, 0);
    return _mm512_permutexvar_ps(kShift == 0 ? word : _mm512_srli_epi32(word, kShift), table);
  }
};

struct Unit {
  __m512i low, high;  // columns 0..3 and 4..7
};

// Written as the instruction: GCC 12 copies the sums of the intrinsic from register to register and keeps some in memory.
KVANT_ALWAYS_INLINE void dot(__m512i& sum, __m512i w, __m512i x) { asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x)); }

__m512i dot_unit(__m512i sum, const Unit& w, __m512i x_low, __m512i x_high) {
  dot(sum, w.low, x_low);
  dot(sum, w.high, x_high);
  return sum;
}

struct Int8Codes {
  using Unit = linear::Unit;
  static constexpr int32_t kOffset = 128;
  static Unit unit(const uint8_t* codes) { return {load_line(codes, 0), load_line(codes, 1)}; }
  // Four columns of a unit.
  static __m512i dot_line(__m512i sum, const uint8_t* codes, int line, __m512i x) {
    linear::dot(sum, load_line(codes, line), x);
    return sum;
  }
  static __m512i dot(__m512i sum, const Unit& w, __m512i low, __m512i high) { return dot_unit(sum, w, low, high); }
};

struct Int4Codes {
  using Unit = linear::Unit;
  static constexpr int32_t kOffset = 8;
  static Unit unit(const uint8_t* codes) {
    const __m512i pairs = load_line(codes, 0), mask = _mm512_set1_epi8(15);
    return {_mm512_and_si512(pairs, mask), _mm512_and_si512(_mm512_srli_epi32(pairs, 4), mask)};
  }
  static __m512i dot(__m512i sum, const Unit& w, __m512i low, __m512i high) { return dot_unit(sum, w, low, high); }
};

struct Decoders {
  using Fp32 = Fp32Weights;
  using Bf16 = Bf16Weights;
  using Fp16 = Fp16Weights;
  using Int8 = Int8Weights;
  using Int4 = NibbleWeights<true>;
  using E4m3 = Fp8Weights<true>;
  using E5m2 = Fp8Weights<false>;
  using E2m1 = NibbleWeights<false>;
  using Int8Codes = linear::Int8Codes;
  using Int4Codes = linear::Int4Codes;
};

}  // namespace

const LinearKernels kernels_avx512vnni = {
    .products = {symmetric_products<Simd, Decoders>, affine_products<Simd, Decoders>,
                 fp4_products<Simd, Decoders, Scales::e8m0>, fp4_products<Simd, Decoders, Scales::e4m3>},
    .absmax = absmax_avx512vnni,
    .quantize = quantize_avx512vnni,
    .round_bf16 = round_bf16_avx512vnni,
    .round_fp16 = round_fp16_avx512vnni,
};

}  // namespace kvant::linear
