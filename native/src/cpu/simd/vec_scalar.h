#pragma once
// Sixteen float lanes in plain C++: the definition that the other vec_<tier>.h files implement with instructions.
//
// Every vec_<tier>.h declares the same names in kvant::<tier>, inside an anonymous namespace: they are compiled with the
// tier's flags and must never be merged with code of another tier. Rules all tiers share:
//   max(a, b)    a > b ? a : b in each lane, so a NaN in a yields b
//   row_sums(a)  lane t is the sum of a[t] over the tree s8[j] = s[j] + s[j + 8], then 4, 2, 1
//   row_maxima(rows, n)  lane t is the largest of rows[t], [n, 16]; other lanes mean nothing
//   load_<format>  sixteen codes to floats, exactly, specials included
#include <bit>
#include <cstdint>
#include <cstring>

#define KVANT_INLINE inline

namespace kvant::scalar {
namespace {

constexpr int kLanes = 16;
// Rows of queries that share one load of keys or values, value vectors a row keeps in registers, and keys it keeps.
constexpr int kRowBlock = 2;
constexpr int kValueBlock = 1;
constexpr int kKeyBlock = 1;

struct Vec {
  float lane[kLanes];
};
struct Ints {
  uint32_t lane[kLanes];
};
struct Mask {
  bool lane[kLanes];
};

#define KVANT_EACH(Type, expression)                           \
  Type result;                                                 \
  for (int i = 0; i < kLanes; i++) result.lane[i] = expression; \
  return result

KVANT_INLINE Vec splat(float value) { KVANT_EACH(Vec, value); }
KVANT_INLINE Vec load(const float* from) { KVANT_EACH(Vec, from[i]); }
KVANT_INLINE Vec load_part(const float* from, int count) { KVANT_EACH(Vec, i < count ? from[i] : 0.0f); }
KVANT_INLINE void store(float* to, Vec a) { std::memcpy(to, a.lane, sizeof a.lane); }
KVANT_INLINE void store_part(float* to, Vec a, int count) {
  std::memcpy(to, a.lane, static_cast<size_t>(count) * sizeof(float));
}

KVANT_INLINE Vec operator+(Vec a, Vec b) { KVANT_EACH(Vec, a.lane[i] + b.lane[i]); }
KVANT_INLINE Vec operator-(Vec a, Vec b) { KVANT_EACH(Vec, a.lane[i] - b.lane[i]); }
KVANT_INLINE Vec operator*(Vec a, Vec b) { KVANT_EACH(Vec, a.lane[i] * b.lane[i]); }
KVANT_INLINE Vec operator/(Vec a, Vec b) { KVANT_EACH(Vec, a.lane[i] / b.lane[i]); }
// a * b + c; this tier alone rounds the product.
KVANT_INLINE Vec fma(Vec a, Vec b, Vec c) { KVANT_EACH(Vec, a.lane[i] * b.lane[i] + c.lane[i]); }
KVANT_INLINE Vec max(Vec a, Vec b) { KVANT_EACH(Vec, a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]); }

KVANT_INLINE Mask operator<(Vec a, Vec b) { KVANT_EACH(Mask, a.lane[i] < b.lane[i]); }
KVANT_INLINE Mask is_nan(Vec a) { KVANT_EACH(Mask, a.lane[i] != a.lane[i]); }
// Lanes begin <= i < end; both may lie outside 0..16.
KVANT_INLINE Mask lanes_between(int begin, int end) { KVANT_EACH(Mask, i >= begin && i < end); }
KVANT_INLINE int count_lanes(Mask mask) {
  int count = 0;
  for (bool lane : mask.lane) count += lane;
  return count;
}
KVANT_INLINE Vec select(Mask mask, Vec yes, Vec no) { KVANT_EACH(Vec, mask.lane[i] ? yes.lane[i] : no.lane[i]); }
KVANT_INLINE Ints select(Mask mask, Ints yes, Ints no) { KVANT_EACH(Ints, mask.lane[i] ? yes.lane[i] : no.lane[i]); }

KVANT_INLINE Ints splat_int(uint32_t value) { KVANT_EACH(Ints, value); }
KVANT_INLINE Ints operator+(Ints a, Ints b) { KVANT_EACH(Ints, a.lane[i] + b.lane[i]); }
KVANT_INLINE Ints operator-(Ints a, Ints b) { KVANT_EACH(Ints, a.lane[i] - b.lane[i]); }
KVANT_INLINE Ints operator&(Ints a, Ints b) { KVANT_EACH(Ints, a.lane[i] & b.lane[i]); }
KVANT_INLINE Ints operator|(Ints a, Ints b) { KVANT_EACH(Ints, a.lane[i] | b.lane[i]); }
template <int count>
KVANT_INLINE Ints shift_left(Ints a) { KVANT_EACH(Ints, a.lane[i] << count); }
template <int count>
KVANT_INLINE Ints shift_right(Ints a) { KVANT_EACH(Ints, a.lane[i] >> count); }

// Lane by lane, not one memcpy of all sixteen. When a Vec and the Ints copied from it share a stack slot, that copy stores what
// the slot already holds; GCC 12 drops the store, keeps only the Vec's, and on aarch64 then reads the integers before it, as
// different types may not alias. Codes of fp16 were encoded from lanes not yet written.
KVANT_INLINE Ints bits_of(Vec a) { KVANT_EACH(Ints, std::bit_cast<uint32_t>(a.lane[i])); }
KVANT_INLINE Vec floats_of(Ints a) { KVANT_EACH(Vec, std::bit_cast<float>(a.lane[i])); }
// The low bits of each lane.
KVANT_INLINE void store_low8(uint8_t* to, Ints a) {
  for (int i = 0; i < kLanes; i++) to[i] = static_cast<uint8_t>(a.lane[i]);
}
KVANT_INLINE void store_low16(uint16_t* to, Ints a) {
  for (int i = 0; i < kLanes; i++) to[i] = static_cast<uint16_t>(a.lane[i]);
}

KVANT_INLINE float sum(Vec a) {
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) a.lane[i] += a.lane[i + half];
  }
  return a.lane[0];
}
KVANT_INLINE float largest(Vec a) {
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) a.lane[i] = a.lane[i] > a.lane[i + half] ? a.lane[i] : a.lane[i + half];
  }
  return a.lane[0];
}
KVANT_INLINE float first_lane(Vec a) { return a.lane[0]; }
KVANT_INLINE Vec row_sums(const Vec* a) { KVANT_EACH(Vec, sum(a[i])); }
KVANT_INLINE Vec row_maxima(const float* rows, int count) {
  float lanes[kLanes] = {};
  for (int i = 0; i < count; i++) lanes[i] = largest(load(rows + kLanes * i));
  return load(lanes);
}
KVANT_INLINE void transpose(Vec* a) {
  for (int i = 0; i < kLanes; i++) {
    for (int j = 0; j < i; j++) {
      const float upper = a[j].lane[i];
      a[j].lane[i] = a[i].lane[j];
      a[i].lane[j] = upper;
    }
  }
}

KVANT_INLINE Vec load_int8(const uint8_t* codes) { KVANT_EACH(Vec, static_cast<float>(static_cast<int8_t>(codes[i]))); }
KVANT_INLINE Vec load_bf16(const uint16_t* codes) {
  Ints patterns;
  for (int i = 0; i < kLanes; i++) patterns.lane[i] = static_cast<uint32_t>(codes[i]) << 16;
  return floats_of(patterns);
}
// A float32 pattern that holds another format's exponent and mantissa fields is off by a power of two; the product with
// that power is exact and normalizes subnormals. Exponents of specials are set afterwards.
KVANT_INLINE float rescaled(uint32_t magnitude, float power, uint32_t sign, bool special) {
  float value;
  std::memcpy(&value, &magnitude, sizeof value);
  value *= power;
  uint32_t pattern;
  std::memcpy(&pattern, &value, sizeof pattern);
  pattern |= sign << 31 | (special ? 0x7f800000u : 0u);
  std::memcpy(&value, &pattern, sizeof value);
  return value;
}
KVANT_INLINE float fp16_value(uint32_t code) {
  return rescaled((code & 0x7fff) << 13, 0x1p112f, code >> 15, (code & 0x7c00) == 0x7c00);
}
KVANT_INLINE Vec load_fp16(const uint16_t* codes) { KVANT_EACH(Vec, fp16_value(codes[i])); }
KVANT_INLINE Vec load_e5m2(const uint8_t* codes) { KVANT_EACH(Vec, fp16_value(static_cast<uint32_t>(codes[i]) << 8)); }
KVANT_INLINE Vec load_e4m3(const uint8_t* codes) {
  KVANT_EACH(Vec, rescaled((codes[i] & 0x7fu) << 20, 0x1p120f, codes[i] >> 7, (codes[i] & 0x7f) == 0x7f));
}

// Whether products of unsigned by signed bytes come in one instruction. A tier that has it keeps the codes of INT8 pages
// integers; see attention_fixed_point.inc.h for what else ByteDots then declares.
struct ByteDots {
  static constexpr bool present = false;
};

#undef KVANT_EACH

}  // namespace
}  // namespace kvant::scalar
