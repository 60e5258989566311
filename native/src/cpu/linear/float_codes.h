#pragma once
#include <bit>
#include <cstdint>

#include "kvant/format.h"

namespace kvant::linear {

// Binary floating-point formats of 16 bits or fewer: sign, exponent with bias 2^(exponent_bits - 1) - 1, mantissa
// (IEEE 754, OCP 8-bit Floating Point Specification, OCP Microscaling Formats).
struct FloatDefinition {
  int exponent_bits, mantissa_bits;
  uint32_t max_code, nan_code;  // largest finite magnitude; NaN (0 where there is none)
};

constexpr FloatDefinition float_definition(Format format) {
  switch (format) {
    case Format::bf16: return {8, 7, 0x7f7f, 0x7fc0};
    case Format::fp16: return {5, 10, 0x7bff, 0x7e00};
    case Format::e4m3: return {4, 3, 0x7e, 0x7f};
    case Format::e5m2: return {5, 2, 0x7b, 0x7e};
    default: return {2, 1, 0x7, 0x0};  // e2m1
  }
}

// Nearest code, ties to even; magnitudes above the largest finite number, infinity included, saturate to it.
constexpr uint32_t encode_float(float value, FloatDefinition to) {
  const uint32_t pattern = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = pattern & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return to.nan_code;
  const int dropped = 23 - to.mantissa_bits;
  const uint32_t sign = (pattern >> 31) << (to.exponent_bits + to.mantissa_bits);
  const uint32_t rebias = static_cast<uint32_t>(128 - (1 << (to.exponent_bits - 1))) << 23;
  const uint32_t min_normal = to.exponent_bits == 8 ? 0 : rebias + (1u << 23);
  if (magnitude >= min_normal) {
    const uint32_t moved = magnitude - rebias;
    const uint32_t code = (moved + (1u << (dropped - 1)) - 1 + ((moved >> dropped) & 1)) >> dropped;
    return sign | (code < to.max_code ? code : to.max_code);
  }
  // Below the smallest normal number the exponent stays and more mantissa bits go. Past 24 of them the value is under half
  // of the smallest subnormal.
  const uint32_t shift = static_cast<uint32_t>(dropped) + (min_normal >> 23) - (magnitude >> 23);
  if (shift > 24) return sign;
  const uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  return sign | ((mantissa + (1u << (shift - 1)) - 1 + ((mantissa >> shift) & 1)) >> shift);
}

// The number that a finite code stands for; the one NaN of e4m3, and infinities and NaNs of bf16, fp16 and e5m2, too.
constexpr float decode_float(uint32_t code, Format format) {
  const FloatDefinition from = float_definition(format);
  const int magnitude_bits = from.exponent_bits + from.mantissa_bits;
  const uint32_t sign = (code >> magnitude_bits & 1) << 31;
  const uint32_t magnitude = code & ((1u << magnitude_bits) - 1);
  const int dropped = 23 - from.mantissa_bits;
  const uint32_t top = ((1u << from.exponent_bits) - 1) << from.mantissa_bits;
  const bool special = format == Format::e4m3 ? magnitude == 0x7f : format != Format::e2m1 && magnitude >= top;
  if (special) {
    const uint32_t mantissa = format == Format::e4m3 ? 0x400000u : (magnitude - top) << dropped;
    return std::bit_cast<float>(sign | 0x7f800000u | mantissa);
  }
  if (from.exponent_bits == 8) return std::bit_cast<float>(sign | magnitude << dropped);
  const uint32_t rebias = static_cast<uint32_t>(128 - (1 << (from.exponent_bits - 1))) << 23;
  if (magnitude >> from.mantissa_bits) return std::bit_cast<float>(sign | ((magnitude << dropped) + rebias));
  // Subnormal: mantissa * 2^(1 - bias - mantissa_bits), exact in float32.
  const float unit = std::bit_cast<float>(rebias + (1u << 23) - (static_cast<uint32_t>(from.mantissa_bits) << 23));
  const float value = static_cast<float>(magnitude) * unit;
  return sign ? -value : value;
}

// OCP Microscaling: 2^(code - 127), the exponent of a float32 as it is; code 0 is its subnormal 2^-127. 255 is no scale.
constexpr float decode_e8m0(uint32_t code) { return std::bit_cast<float>(code == 0 ? 0x00400000u : code << 23); }

}  // namespace kvant::linear
