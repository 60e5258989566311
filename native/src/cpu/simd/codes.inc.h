// Sixteen codes of a format to float lanes and back, for each format that pages and embedding tables are stored in.
// decode is exact. encode rounds to nearest, ties to even, and saturates at the largest finite value; NaN becomes the
// format's positive NaN, and 0 in int8: bit-equal to packages/formats.
#ifndef KVANT_TIER
#error "define KVANT_TIER and include the tier's vec header first"
#endif

namespace kvant::KVANT_TIER {
namespace {

template <Format format>
struct Codes;

// Encodes lanes to a format of `exponent_bits` and `mantissa_bits`, in the low bits of each lane. A float32 pattern becomes
// a code when its exponent moves from one bias to the other and the excess mantissa bits are rounded off. Below the smallest
// normal number the sum with 2^23 * (smallest subnormal) rounds to a multiple of that subnormal, which is the code.
template <int exponent_bits, int mantissa_bits>
KVANT_INLINE Ints encode_float(Vec x, float largest_value, uint32_t nan_code) {
  constexpr int bias = (1 << (exponent_bits - 1)) - 1;
  constexpr int dropped = 23 - mantissa_bits;
  constexpr uint32_t rebias = static_cast<uint32_t>(127 - bias) << 23;
  const Vec size = magnitude(x);
  const Vec clamped = select(splat(largest_value) < size, splat(largest_value), size);
  const Ints pattern = bits_of(clamped);
  const Ints odd = shift_right<dropped>(pattern) & splat_int(1);
  const Ints half = splat_int((1u << (dropped - 1)) - 1 - rebias);
  Ints code = shift_right<dropped>(pattern + half + odd);
  if constexpr (bias != 127) {
    const Ints smallest_normal = splat_int(static_cast<uint32_t>(128 - bias) << 23);
    const Ints magic = splat_int(static_cast<uint32_t>(127 + 23 + 1 - bias - mantissa_bits) << 23);
    const Ints subnormal = bits_of(clamped + floats_of(magic)) - magic;
    code = select(clamped < floats_of(smallest_normal), subnormal, code);
  }
  code = code | shift_left<exponent_bits + mantissa_bits>(shift_right<31>(bits_of(x)));
  return select(is_nan(x), splat_int(nan_code), code);
}

template <>
struct Codes<Format::fp32> {
  using Code = float;
  static KVANT_INLINE Vec decode(const Code* codes) { return load(codes); }
  static KVANT_INLINE void encode(Code* to, Vec x) { store(to, x); }
};

template <>
struct Codes<Format::bf16> {
  using Code = uint16_t;
  static KVANT_INLINE Vec decode(const Code* codes) { return load_bf16(codes); }
  static KVANT_INLINE void encode(Code* to, Vec x) { store_low16(to, encode_float<8, 7>(x, 0x1.fep127f, 0x7fc0)); }
};

template <>
struct Codes<Format::fp16> {
  using Code = uint16_t;
  static KVANT_INLINE Vec decode(const Code* codes) { return load_fp16(codes); }
  static KVANT_INLINE void encode(Code* to, Vec x) { store_low16(to, encode_float<5, 10>(x, 65504.0f, 0x7e00)); }
};

template <>
struct Codes<Format::e4m3> {
  using Code = uint8_t;
  static KVANT_INLINE Vec decode(const Code* codes) { return load_e4m3(codes); }
  static KVANT_INLINE void encode(Code* to, Vec x) { store_low8(to, encode_float<4, 3>(x, 448.0f, 0x7f)); }
};

template <>
struct Codes<Format::e5m2> {
  using Code = uint8_t;
  static KVANT_INLINE Vec decode(const Code* codes) { return load_e5m2(codes); }
  static KVANT_INLINE void encode(Code* to, Vec x) { store_low8(to, encode_float<5, 2>(x, 57344.0f, 0x7e)); }
};

template <>
struct Codes<Format::int8> {
  using Code = uint8_t;
  static KVANT_INLINE Vec decode(const Code* codes) { return load_int8(codes); }
  // The sum with 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
  static KVANT_INLINE void encode(Code* to, Vec x) {
    const Vec number = select(is_nan(x), splat(0.0f), x);
    const Vec above = select(number < splat(-127.0f), splat(-127.0f), number);
    const Vec clamped = select(splat(127.0f) < above, splat(127.0f), above);
    store_low8(to, bits_of(clamped + splat(0x1.8p23f)));
  }
};

template <Format format>
using Code = typename Codes<format>::Code;

// The same for the last codes of a row, where fewer than sixteen may be read or written; other lanes are 0.
template <Format format>
KVANT_INLINE Vec decode_upto(const Code<format>* codes, int64_t count) {
  if (count >= kLanes) return Codes<format>::decode(codes);
  Code<format> padded[kLanes] = {};
  for (int i = 0; i < count; i++) padded[i] = codes[i];
  return Codes<format>::decode(padded);
}

template <Format format>
KVANT_INLINE void encode_upto(Code<format>* to, Vec x, int64_t count) {
  if (count >= kLanes) return Codes<format>::encode(to, x);
  Code<format> padded[kLanes];
  Codes<format>::encode(padded, x);
  for (int i = 0; i < count; i++) to[i] = padded[i];
}

}  // namespace
}  // namespace kvant::KVANT_TIER
