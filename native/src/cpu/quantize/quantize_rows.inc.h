// Scales and codes of rows of float32 for one tier; included by quantize_kernels.inc.h inside an unnamed namespace, after
// kFusedMultiplyAdd and the tier's store_line. Plain loops over 32-bit lanes without branches, which the compiler turns into the
// tier's vectors.

constexpr uint32_t kInfinity = 0x7f800000u;
constexpr int64_t kStrip = 32;  // values of an inner loop that is unrolled: the narrowest group that takes the short way
constexpr int64_t kChunkStrips = 16;
constexpr int64_t kChunk = kChunkStrips * kStrip;  // values that take the same way to their codes

// While a row is at work the next one is asked for, evenly, so that memory never waits: of every kLine values kEarly during the
// search for scales, which takes about a quarter of the time, and kLate while codes are made.
constexpr int64_t kEarly = kLine / 4;
constexpr int64_t kLate = kLine - kEarly;

inline __attribute__((always_inline)) void ask_for(const float* x, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) __builtin_prefetch(x + i, 0, 2);
}

// `condition ? yes : no`, written so that GCC does not go two ways through all that follows.
inline __attribute__((always_inline)) uint32_t chosen(bool condition, uint32_t yes, uint32_t no) {
  const uint32_t mask = 0u - static_cast<uint32_t>(condition);
  return (yes & mask) | (no & ~mask);
}

// |x| as a bit pattern: they are ordered as the numbers are, with infinity and then NaN above.
inline __attribute__((always_inline)) int32_t magnitude_pattern(float x) {
  return static_cast<int32_t>(__builtin_bit_cast(uint32_t, x) & 0x7fffffffu);
}

inline __attribute__((always_inline)) int32_t larger(int32_t left, int32_t right) { return left > right ? left : right; }

inline __attribute__((always_inline)) int32_t largest_pattern(const float* x, int64_t count) {
  int32_t largest = 0;
  for (int64_t i = 0; i < count; i++) largest = larger(largest, magnitude_pattern(x[i]));
  return largest;
}

template <int64_t kCount>
inline __attribute__((always_inline)) void fold_pairs(const int32_t* __restrict from, int32_t* __restrict to) {
  for (int64_t i = 0; i < kCount; i++) to[i] = larger(from[2 * i], from[2 * i + 1]);
}

// largest_pattern of each strip of a chunk: all strips shrink together, so that vectors stay full to the end.
void largest_of_strips(const float* __restrict x, int32_t* __restrict largest) {
  constexpr int64_t kHalf = kStrip / 2;
  alignas(64) int32_t halves[kChunk / 2], quarters[kChunk / 4], eighths[kChunk / 8], sixteenths[kChunk / 16];
  for (int64_t strip = 0; strip < kChunkStrips; strip++) {
    const float* const values = x + strip * kStrip;
    for (int64_t i = 0; i < kHalf; i++) {
      halves[strip * kHalf + i] = larger(magnitude_pattern(values[i]), magnitude_pattern(values[kHalf + i]));
    }
  }
  fold_pairs<kChunk / 4>(halves, quarters);
  fold_pairs<kChunk / 8>(quarters, eighths);
  fold_pairs<kChunk / 16>(eighths, sixteenths);
  fold_pairs<kChunkStrips>(sixteenths, largest);
}

// a * b + c for exact products: one rounding or two, the sum is the same.
inline __attribute__((always_inline)) float multiply_add(float a, float b, float c) {
  return kFusedMultiplyAdd ? __builtin_fmaf(a, b, c) : a * b + c;
}

// Largest magnitude as packages/formats counts it: NaN is ignored, infinity is the largest float32.
float absmax(const float* x, int64_t count) {
  constexpr int32_t kMostNumber = static_cast<int32_t>(kInfinity) - 1;
  int32_t largest = largest_pattern(x, count);
  if (largest > static_cast<int32_t>(kInfinity)) {
    largest = 0;
    for (int64_t i = 0; i < count; i++) {
      const int32_t magnitude = magnitude_pattern(x[i]);
      largest = larger(largest, magnitude > static_cast<int32_t>(kInfinity) ? 0 : magnitude);
    }
  }
  return __builtin_bit_cast(float, largest < kMostNumber ? largest : kMostNumber);
}

// absmax / kLargest of a row's groups. Whether all of the row is finite: nothing then is left out of its scale.
template <class Codes>
bool measure_groups(const float* x, int64_t cols, int64_t group_cols, float* scales) {
  const int64_t groups = (cols + group_cols - 1) / group_cols;
  for (int64_t group = 0; group < groups; group++) scales[group] = 0;
  for (int64_t begin = 0; begin < cols; begin += kChunk) {
    const int64_t end = cols - begin < kChunk ? cols : begin + kChunk;
    int64_t group = begin / group_cols;
    if (group_cols == kStrip && end - begin == kChunk) {
      int32_t largest[kChunkStrips];
      largest_of_strips(x + begin, largest);
      __builtin_memcpy(scales + group, largest, sizeof largest);
    } else {
      for (int64_t col = begin, stop; col < end; col = stop, group++) {
        const int64_t group_end = (group + 1) * group_cols;
        stop = group_end < end ? group_end : end;
        const int32_t before = __builtin_bit_cast(int32_t, scales[group]);
        scales[group] = __builtin_bit_cast(float, larger(before, largest_pattern(x + col, stop - col)));
      }
    }
    ask_for(x + cols + begin / kLine * kEarly, (end - begin) / kLine * kEarly);
  }
  const bool finite = largest_pattern(scales, groups) < static_cast<int32_t>(kInfinity);
  if (!finite) {
    for (int64_t group = 0; group < groups; group++) {
      const int64_t begin = group * group_cols;
      scales[group] = absmax(x + begin, cols - begin < group_cols ? cols - begin : group_cols);
    }
  }
  for (int64_t group = 0; group < groups; group++) scales[group] /= Codes::kLargest;
  return finite;
}

struct Division {
  float scale;
  float operator()(float x) const { return x / scale; }
};

// Quotients with the same codes, several times sooner. Close to a border between two codes they are a division's own: borders have
// eight significant bits at most, and all of them were tried with all significands of a scale. Elsewhere the last place decides
// nothing. The step after the product is Markstein's (Computation of elementary functions on the IBM RISC System/6000 processor,
// 1990), which wants a product within one last place; here it may be 1.5 away. The sign of a zero need not be a division's.
struct QuickDivision {
  explicit QuickDivision(float divisor) : scale(divisor), inverse(1 / divisor) {}
  float operator()(float x) const {
    if constexpr (!kFusedMultiplyAdd) return x / scale;
    const float near = x * inverse;
    return __builtin_fmaf(__builtin_fmaf(-near, scale, x), inverse, near);
  }
  float scale, inverse;
};

// Quotients of at least 2^-30 then have exact remainders; those below are 0 in every format, whatever their last places.
inline __attribute__((always_inline)) bool suits_quick_division(float scale) { return scale >= 0x1p-70f && scale <= 0x1p100f; }

bool suit_quick_division(const float* scales, int64_t count) {
  bool suit = true;
  for (int64_t i = 0; i < count; i++) suit &= suits_quick_division(scales[i]);
  return suit;
}

// There are two ways to a code. `encode` takes any quotient and saturates; `encode_within` takes numbers that exceed kLargest by no
// more than the rounding of their group's scale. Bits above those that are stored may hold anything.

// Nearest integer, ties to even, within -limit .. limit; NaN gives 0. For quotients below 2^22 and infinite ones: others do not
// come of a scale that belongs to its values.
template <int kLimit>
struct Integers {
  static constexpr float kLargest = kLimit;
  static constexpr float kSpacing = 12582912.0f;  // floats in [2^23, 2^24) are one apart; the low bits of this one are 0
  static uint32_t encode(float quotient, float x) {
    const uint32_t number = chosen(quotient == quotient, __builtin_bit_cast(uint32_t, quotient), 0);
    const uint32_t spaced = encode_within(__builtin_bit_cast(float, number), x);
    const int32_t rounded = static_cast<int32_t>(spaced - __builtin_bit_cast(uint32_t, kSpacing));
    const int32_t low = rounded < kLimit ? rounded : kLimit;
    return static_cast<uint32_t>(low > -kLimit ? low : -kLimit);
  }
  static uint32_t encode_within(float quotient, float /*x*/) { return __builtin_bit_cast(uint32_t, quotient + kSpacing); }
};

// linear::encode_float of the quotient of x and a positive scale, without its branches.
template <Format kFormat>
struct Floats {
  static constexpr float kLargest = max_value(kFormat);
  static constexpr linear::FloatDefinition kTo = linear::float_definition(kFormat);
  static constexpr int kMagnitudeBits = kTo.exponent_bits + kTo.mantissa_bits;
  static constexpr uint32_t kMagnitude = (1u << kMagnitudeBits) - 1;
  static constexpr int kDropped = 23 - kTo.mantissa_bits;
  static constexpr int32_t kMinNormal = (129 - (1 << (kTo.exponent_bits - 1))) << 23;

  static uint32_t encode(float quotient, float x) {
    const int32_t magnitude = magnitude_pattern(quotient);
    constexpr int32_t kMost = __builtin_bit_cast(int32_t, kLargest);
    const uint32_t code = encode_within(__builtin_bit_cast(float, magnitude < kMost ? magnitude : kMost), x);
    return chosen(magnitude > static_cast<int32_t>(kInfinity), kTo.nan_code, code);
  }

  // Rounds by adding the power of two whose last place is the format's step at the quotient; below the smallest normal number the
  // step stays. The sum's mantissa then counts steps and its exponent binades, of 2^mantissa_bits codes each. kSkew takes off what
  // the exponent counts before the first binade; it is even, so that ties stay those of the steps.
  static uint32_t encode_within(float quotient, float x) {
    constexpr uint32_t kSmallestBinade = (static_cast<uint32_t>(kMinNormal) >> 23) + kDropped;
    constexpr uint32_t kSkew = (0u - (kSmallestBinade << kTo.mantissa_bits)) & kMagnitude;
    static_assert(kSkew % 2 == 0);
    constexpr float kPower = __builtin_bit_cast(float, (static_cast<uint32_t>(127 + kDropped) << 23) + kSkew);  // of binade 1
    const int32_t magnitude = magnitude_pattern(quotient);
    const uint32_t binade = static_cast<uint32_t>(larger(magnitude, kMinNormal)) & kInfinity;
    const float sum = multiply_add(__builtin_bit_cast(float, binade), kPower, __builtin_bit_cast(float, magnitude));
    const uint32_t spaced = __builtin_bit_cast(uint32_t, sum);
    const uint32_t code = spaced + (spaced >> kDropped);
    const uint32_t sign = __builtin_bit_cast(uint32_t, x) >> (31 - kMagnitudeBits);
    return ((code ^ sign) & kMagnitude) ^ sign;
  }
};

template <class Codes, class Quotient>
inline __attribute__((always_inline)) void encode_each(const float* __restrict x, int64_t count, Quotient quotient,
                                                       uint32_t* __restrict codes) {
  for (int64_t i = 0; i < count; i++) codes[i] = Codes::encode(quotient(x[i]), x[i]);
}

template <class Codes>
inline __attribute__((always_inline)) void encode_each_within(const float* __restrict x, int64_t count, QuickDivision quotient,
                                                              uint32_t* __restrict codes) {
  for (int64_t i = 0; i < count; i++) codes[i] = Codes::encode_within(quotient(x[i]), x[i]);
}

// Values that share a scale. `within`: it is that of their group, and they are finite.
template <class Codes>
void encode(const float* x, int64_t count, float scale, bool within, uint32_t* codes) {
  if (scale == 0) __builtin_memset(codes, 0, static_cast<size_t>(count) * sizeof *codes);
  else if (!suits_quick_division(scale)) encode_each<Codes>(x, count, Division{scale}, codes);
  else if (within) encode_each_within<Codes>(x, count, QuickDivision(scale), codes);
  else encode_each<Codes>(x, count, QuickDivision(scale), codes);
}

// The same for a chunk whose scales suit quick division, each that of `group_cols` values: a power of two from kStrip to kChunk,
// less than kLine with kHalves alone. Codes stay in registers on their way to bytes. `ahead` is asked for meanwhile.
template <class Codes, bool kNibbles, bool kHalves>
void encode_groups(const float* __restrict x, int64_t group_cols, const float* __restrict scales, const float* ahead,
                   uint8_t* __restrict out) {
  constexpr uint32_t kStored = kNibbles ? 15 : 255;
  const int64_t span = kHalves ? kLine : group_cols;
  for (int64_t begin = 0; begin < kChunk; begin += span, scales += kHalves ? 2 : 1) {
    const QuickDivision left(scales[0]), right = kHalves ? QuickDivision(scales[1]) : left;
    for (int64_t col = begin; col < begin + span; col += kLine) {
      ask_for(ahead + col / kLine * kLate, kLate);
      alignas(64) uint32_t codes[kLine];
      for (int64_t i = 0; i < kStrip; i++) codes[i] = Codes::encode_within(left(x[col + i]), x[col + i]) & kStored;
      for (int64_t i = kStrip; i < kLine; i++) codes[i] = Codes::encode_within(right(x[col + i]), x[col + i]) & kStored;
      store_line<kNibbles>(codes, out + col / (kNibbles ? 2 : 1));
    }
  }
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
  const bool grouped = matrix_scale < 0;
  const bool within = grouped && measure_groups<Codes>(x, cols, group_cols, scales);
  const int64_t part_cols = group_cols < kChunk ? group_cols : kChunk;  // that share a scale in a chunk
  const bool whole_strips = within && group_cols % kStrip == 0 && (kChunk % group_cols == 0 || group_cols % kChunk == 0);
  const int64_t asked = grouped ? kLate : kLine;
  const float* const after_next = x + 2 * cols;
  const float* ahead = after_next - cols / kLine * asked;
  for (int64_t begin = 0; begin < cols; begin += kChunk, ahead += kChunk / kLine * asked) {
    const int64_t end = cols - begin < kChunk ? cols : begin + kChunk;
    // Some values of each page of the row after the next: the page's address is then known when all of the row is asked for.
    __builtin_prefetch(after_next + begin, 0, 2);
    const float* const chunk_scales = scales + begin / group_cols;
    uint8_t* const chunk_out = out + begin / (kNibbles ? 2 : 1);
    if (whole_strips && end - begin == kChunk && suit_quick_division(chunk_scales, kChunk / part_cols)) {
      constexpr auto encode_lines = encode_groups<Codes, kNibbles, false>, encode_halves = encode_groups<Codes, kNibbles, true>;
      (part_cols < kLine ? encode_halves : encode_lines)(x + begin, part_cols, chunk_scales, ahead, chunk_out);
      continue;
    }
    ask_for(ahead, (end - begin) / kLine * asked);
    alignas(64) uint32_t codes[kChunk];
    for (int64_t col = begin, group = begin / group_cols, stop; col < end; col = stop, group++) {
      const int64_t group_end = (group + 1) * group_cols;
      stop = group_end < end ? group_end : end;
      encode<Codes>(x + col, stop - col, grouped ? scales[group] : matrix_scale, within, codes + (col - begin));
    }
    if (kNibbles) store_nibbles(codes, end - begin, chunk_out);
    else store_bytes(codes, end - begin, chunk_out);
  }
}
