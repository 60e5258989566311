// Registers of 8 lanes and decoders of weights for AVX2, FMA and F16C; included by the tiers of that width inside their
// anonymous namespaces, after product.inc.h.
struct Simd {
  using Float = __m256;
  using Int = __m256i;
  static constexpr int kLanes = 8;
  // Eight sums hide the latency of the multiplication and leave registers for weights.
  static constexpr int vectors(int tokens) { return tokens == 8 ? 1 : tokens == 4 ? 2 : 4; }

  static Float zero() { return _mm256_setzero_ps(); }
  static Float splat(float value) { return _mm256_set1_ps(value); }
  static Float load(const float* from) { return _mm256_loadu_ps(from); }
  static void store(float* to, Float a) { _mm256_storeu_ps(to, a); }
  static Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static Float scaled(Float a, float factor) { return factor == 1 ? a : _mm256_mul_ps(a, _mm256_set1_ps(factor)); }
  static Float to_float(Int a) { return _mm256_cvtepi32_ps(a); }
  static Int splat_int(int32_t value) { return _mm256_set1_epi32(value); }
  static Int splat_word(const int8_t* from) {
    int32_t word;
    __builtin_memcpy(&word, from, 4);
    return _mm256_set1_epi32(word);
  }
  static Float load_at(const uint8_t* floats, int64_t lane) { return load(reinterpret_cast<const float*>(floats) + lane); }
  static Float mul(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static Float sub(Float a, Float b) { return _mm256_sub_ps(a, b); }
  static Int sub_product(Int a, Int b, Int c) { return _mm256_sub_epi32(a, _mm256_mullo_epi32(b, c)); }
  static __m128i bytes(const uint8_t* from) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)); }
  static Int widen_bytes(const uint8_t* from) { return _mm256_cvtepi8_epi32(bytes(from)); }
  // The exponent of a float32 as it is; code 0 is the subnormal 2^-127.
  static Float from_e8m0(const uint8_t* from) {
    const Int pattern = _mm256_slli_epi32(_mm256_cvtepu8_epi32(bytes(from)), 23);
    return _mm256_castsi256_ps(_mm256_max_epi32(pattern, _mm256_set1_epi32(0x00400000)));
  }
  // Codes of scales are not negative; as fp16 they come out 2^8 too small.
  static Float from_e4m3(const uint8_t* from) {
    const __m128i half = _mm_slli_epi16(_mm_cvtepu8_epi16(bytes(from)), 7);
    return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256));
  }
  static void prefetch(const uint8_t* at) { _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T0); }
};

// Half of line `line` of 64 bytes; the caller's pointer chooses the half.
__m256i load_half(const uint8_t* codes, int line) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + line * 64));
}

// A number b in the low mantissa bits of 2^23 reads as the float 2^23 + b.
__m256 from_offset(__m256i number, float offset) {
  return _mm256_sub_ps(_mm256_castsi256_ps(_mm256_or_si256(number, _mm256_set1_epi32(0x4b000000))),
                       _mm256_set1_ps(8388608.0f + offset));
}

struct Fp32Weights {
  static constexpr float kFactor = 1;
  template <int J>
  static __m256 column(const uint8_t* codes) {
    return _mm256_castsi256_ps(load_half(codes, J));
  }
};

struct Bf16Weights {
  static constexpr float kFactor = 1;
  template <int J>
  static __m256 column(const uint8_t* codes) {
    const __m256i pair = load_half(codes, J / 2);
    return _mm256_castsi256_ps(J % 2 == 0 ? _mm256_slli_epi32(pair, 16)
                                          : _mm256_and_si256(pair, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
  }
};

struct Fp16Weights {
  static constexpr float kFactor = 1;
  template <int J>
  static __m256 column(const uint8_t* codes) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + J * 32)));
  }
};

// Both FP8 formats become fp16 by moving bits: E5M2 is its upper byte; E4M3 takes the fp16 exponent's bias for its own and
// comes out 2^8 too small, subnormals included, which the scale makes good.
template <bool kE4m3>
struct Fp8Weights {
  static constexpr float kFactor = kE4m3 ? 256 : 1;
  template <int J>
  static __m256 column(const uint8_t* codes) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + J * 16));
    __m128i half = _mm_unpacklo_epi8(_mm_setzero_si128(), bytes);
    if constexpr (kE4m3) half = _mm_and_si128(_mm_srai_epi16(half, 1), _mm_set1_epi16(static_cast<short>(0xbfff)));
    return _mm256_cvtph_ps(half);
  }
};

struct Int8Weights {
  static constexpr float kFactor = 1;
  template <int J>
  static __m256 column(const uint8_t* codes) {
    const __m256i word = load_half(codes, J / 4);
    return from_offset(_mm256_and_si256(_mm256_srli_epi32(word, J % 4 * 8), _mm256_set1_epi32(255)), 128.0f);
  }
};

template <int J>
constexpr int kNibbleShift = J % 4 * 8 + J / 4 * 4;

struct Int4Weights {
  static constexpr float kFactor = 1;
  template <int J>
  static __m256 column(const uint8_t* codes) {
    const __m256i word = load_half(codes, 0);
    return from_offset(_mm256_and_si256(_mm256_srli_epi32(word, kNibbleShift<J>), _mm256_set1_epi32(15)), 8.0f);
  }
};

// vpermps looks at the low three bits of a lane, the magnitude; the fourth is the sign.
struct E2m1Weights {
  static constexpr float kFactor = 1;
  template <int J>
  static __m256 column(const uint8_t* codes) {
    const __m256i word = load_half(codes, 0);
    const __m256 magnitude =
        _mm256_permutevar8x32_ps(_mm256_setr_ps(0, 0.5, 1, 1.5, 2, 3, 4, 6), _mm256_srli_epi32(word, kNibbleShift<J>));
    const __m256 sign = _mm256_castsi256_ps(_mm256_slli_epi32(word, 28 - kNibbleShift<J>));
    return _mm256_or_ps(magnitude, _mm256_and_ps(sign, _mm256_set1_ps(-0.0f)));
  }
};
