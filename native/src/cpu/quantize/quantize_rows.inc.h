// Scales and codes of rows of float32 for one tier; included by quantize_kernels.inc.h inside an unnamed namespace, after
// kFusedMultiplyAdd. Plain loops over 32-bit lanes without branches, which the compiler turns into the tier's vectors.

// `condition ? yes : no`, written so that GCC does not go two ways through all that follows.
inline __attribute__((always_inline)) uint32_t chosen(bool condition, uint32_t yes, uint32_t no) {
  const uint32_t mask = 0u - static_cast<uint32_t>(condition);
  return (yes & mask) | (no & ~mask);
}

// Largest magnitude as packages/formats counts it: NaN is ignored, infinity is the largest float32. Positive floats are ordered as
// their bit patterns are.
float absmax(const float* x, int64_t count) {
  constexpr uint32_t kInfinity = 0x7f800000u;
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; i++) {
    const uint32_t magnitude = __builtin_bit_cast(uint32_t, x[i]) & 0x7fffffffu;
    const uint32_t number = chosen(magnitude > kInfinity, 0, magnitude);
    largest = number > largest ? number : largest;
  }
  return __builtin_bit_cast(float, largest < kInfinity ? largest : kInfinity - 1);
}

struct Division {
  float scale;
  float operator()(float x) const { return x / scale; }
};

// The same quotients, rounded as a division rounds, several times sooner. The inverse in two parts comes within one last place; from
// there a step with a remainder that has no rounding error is exact (Markstein, Computation of elementary functions on the IBM RISC
// System/6000 processor, 1990). Only the sign of a zero is not a division's.
struct FusedDivision {
  explicit FusedDivision(float divisor)
      : scale(divisor), inverse(1 / divisor), rest(__builtin_fmaf(-inverse, scale, 1.0f) * inverse) {}
  float operator()(float x) const {
    const float near = __builtin_fmaf(x, inverse, x * rest);
    return __builtin_fmaf(__builtin_fmaf(-near, scale, x), inverse, near);
  }
  float scale, inverse, rest;
};

// Quotients of at least 2^-30 then have exact remainders; those below are 0 in every format, whatever their last places.
bool suits_fused_division(float scale) { return kFusedMultiplyAdd && scale >= 0x1p-70f && scale <= 0x1p100f; }

// Nearest integer, ties to even, within -limit .. limit; NaN gives 0. For quotients below 2^22 and infinite ones: others do not come
// of a scale that belongs to its values.
template <int kLimit>
struct Integers {
  static constexpr float kLargest = kLimit;
  static uint32_t encode(float quotient, float /*x*/) {
    constexpr float kSpacing = 12582912.0f;  // floats in [2^23, 2^24) are one apart
    const uint32_t number = chosen(quotient == quotient, __builtin_bit_cast(uint32_t, quotient), 0);
    const float spaced = __builtin_bit_cast(float, number) + kSpacing;
    const int32_t rounded = static_cast<int32_t>(__builtin_bit_cast(uint32_t, spaced) - __builtin_bit_cast(uint32_t, kSpacing));
    const int32_t low = rounded < kLimit ? rounded : kLimit;
    return static_cast<uint32_t>(low > -kLimit ? low : -kLimit);
  }
};

// linear::encode_float of the quotient of x and a positive scale, without its branches. Below the smallest normal number, adding a
// power of two whose last place is the format's smallest step rounds to that step, ties to even.
template <Format kFormat>
struct Floats {
  static constexpr float kLargest = max_value(kFormat);
  static uint32_t encode(float quotient, float x) {
    constexpr linear::FloatDefinition kTo = linear::float_definition(kFormat);
    constexpr int kDropped = 23 - kTo.mantissa_bits;
    constexpr uint32_t kBias = (1u << (kTo.exponent_bits - 1)) - 1;
    constexpr uint32_t kRebias = (127 - kBias) << 23;
    constexpr uint32_t kSpacing = (127 + 23 + 1 - kBias - kTo.mantissa_bits) << 23;
    constexpr int kMagnitudeBits = kTo.exponent_bits + kTo.mantissa_bits;
    const uint32_t magnitude = __builtin_bit_cast(uint32_t, quotient) & 0x7fffffffu;
    const uint32_t sign = __builtin_bit_cast(uint32_t, x) >> (31 - kMagnitudeBits) & 1u << kMagnitudeBits;
    const uint32_t normal = (magnitude - kRebias + (1u << (kDropped - 1)) - 1 + ((magnitude >> kDropped) & 1)) >> kDropped;
    const float spaced = __builtin_bit_cast(float, magnitude) + __builtin_bit_cast(float, kSpacing);
    const uint32_t subnormal = __builtin_bit_cast(uint32_t, spaced) - kSpacing;
    const uint32_t rounded = chosen(magnitude < kRebias + (1u << 23), subnormal, normal);
    const uint32_t code = sign | (rounded < kTo.max_code ? rounded : kTo.max_code);
    return chosen(magnitude > 0x7f800000u, kTo.nan_code, code);
  }
};

template <class Codes, class Quotient>
inline __attribute__((always_inline)) void encode_each(const float* __restrict x, int64_t count, Quotient quotient, uint32_t* __restrict codes) {
  for (int64_t i = 0; i < count; i++) codes[i] = Codes::encode(quotient(x[i]), x[i]);
}

template <class Codes>
void encode(const float* x, int64_t count, float scale, uint32_t* codes) {
  if (scale == 0) __builtin_memset(codes, 0, static_cast<size_t>(count) * sizeof *codes);
  else if (suits_fused_division(scale)) encode_each<Codes>(x, count, FusedDivision(scale), codes);
  else encode_each<Codes>(x, count, Division{scale}, codes);
}

void store_bytes(const uint32_t* __restrict codes, int64_t count, uint8_t* __restrict out) {
  for (int64_t i = 0; i < count; i++) out[i] = static_cast<uint8_t>(codes[i]);
}

void store_nibbles(const uint32_t* __restrict codes, int64_t count, uint8_t* __restrict out) {
  const int64_t pairs = count / 2;
  for (int64_t i = 0; i < pairs; i++) out[i] = static_cast<uint8_t>((codes[2 * i] & 15) | codes[2 * i + 1] << 4);
  if (count % 2 != 0) out[pairs] = static_cast<uint8_t>(codes[count - 1] & 15);
}

template <class Codes, bool kNibbles>
void quantize_row(const float* x, int64_t cols, int64_t group_cols, float matrix_scale, float* scales, uint8_t* out) {
  if (matrix_scale < 0) {
    for (int64_t begin = 0, group = 0; begin < cols; begin += group_cols, group++) {
      scales[group] = absmax(x + begin, cols - begin < group_cols ? cols - begin : group_cols) / Codes::kLargest;
    }
  }
  // Codes pass through the first-level cache on their way to bytes, so that groups of any width fill vectors and nibbles. The row
  // is there already, from the search for its scales; meanwhile the next one is asked for.
  constexpr int64_t kChunk = 128;
  alignas(64) uint32_t codes[kChunk];
  int64_t group = 0, group_end = group_cols;
  for (int64_t begin = 0; begin < cols; begin += kChunk) {
    const int64_t end = cols - begin < kChunk ? cols : begin + kChunk;
    for (int64_t col = begin; col < end; col += 16) __builtin_prefetch(x + cols + col, 0, 2);
    for (int64_t col = begin; col < end;) {
      const int64_t stop = group_end < end ? group_end : end;
      encode<Codes>(x + col, stop - col, matrix_scale < 0 ? scales[group] : matrix_scale, codes + (col - begin));
      col = stop;
      if (col == group_end) {
        group++;
        group_end += group_cols;
      }
    }
    if (kNibbles) store_nibbles(codes, end - begin, out + begin / 2);
    else store_bytes(codes, end - begin, out + begin);
  }
}
