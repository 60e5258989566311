#pragma once
// Codes in registers to pairs of numbers for the tensor cores, exact for every code. Eight columns at a time: four words of
// 16-bit numbers, two of 8-bit codes, one of 4-bit codes (order: layout.h). Where a decoder leaves numbers a power of two
// too small, kFactor says by how much; the kernels multiply their float32 sums by it.
//
// Integers may have a code of zero; its decoders take it as an `offset`, which every lane makes once per row and group.
//
// Small floats are moved under a wider exponent field by shifts, which is exact for subnormal numbers too; integers are
// or-ed into the mantissa of a power of two, which is then subtracted. From e4m3 to half, devices have an instruction since compute
// capability 8.9, for two codes at a time. The NaN codes of e4m3 and e5m2 may decode to numbers: load_weights puts the NaN into the
// scale.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "kvant/format.h"

namespace kvant::cuda::linear {

template <class T>
__device__ __forceinline__ T from_bits(uint32_t bits) {
  return *reinterpret_cast<T*>(&bits);
}
template <class T>
__device__ __forceinline__ uint32_t to_bits(T value) {
  return *reinterpret_cast<uint32_t*>(&value);
}

// (a & mask) | b in one instruction.
template <uint32_t kMask>
__device__ __forceinline__ uint32_t and_or(uint32_t a, uint32_t b) {
  uint32_t out;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(out) : "r"(a), "n"(kMask), "r"(b));
  return out;
}

// (a & mask) ^ b in one instruction, where the compiler makes two of it because both are constants.
template <uint32_t kMask>
__device__ __forceinline__ uint32_t and_xor(uint32_t a, uint32_t b) {
  uint32_t out;
  asm("lop3.b32 %0, %1, %2, %3, 0x6a;" : "=r"(out) : "r"(a), "n"(kMask), "r"(b));
  return out;
}

template <class Pair>
__device__ __forceinline__ uint32_t subtract(uint32_t a, uint32_t b) {
  return to_bits(__hsub2(from_bits<Pair>(a), from_bits<Pair>(b)));
}
template <class Pair>
__device__ __forceinline__ uint32_t multiply(uint32_t a, uint32_t b) {
  return to_bits(__hmul2(from_bits<Pair>(a), from_bits<Pair>(b)));
}

// Pair is __half2 or __nv_bfloat162.
template <Format F, class Pair>
struct Decoder {
  static constexpr bool kHalf = std::is_same_v<Pair, __half2>;
  static constexpr int kWords = bits(F) / 4;  // of eight columns
  static constexpr float kFactor = kHalf && F == Format::e2m1 ? 16384.0f : 1.0f;

  // The lower or upper two codes of four.
  static __device__ __forceinline__ uint32_t two_floats(uint32_t word, bool upper) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    if constexpr (F == Format::e4m3 && kHalf) {
      // The instruction reads either half of a word where it is; a shift outside would stay one.
      uint32_t pair;
      if (upper) asm("{\n.reg .b16 low, high;\nmov.b32 {low, high}, %1;\ncvt.rn.f16x2.e4m3x2 %0, high;\n}" : "=r"(pair) : "r"(word));
      else asm("{\n.reg .b16 low, high;\nmov.b32 {low, high}, %1;\ncvt.rn.f16x2.e4m3x2 %0, low;\n}" : "=r"(pair) : "r"(word));
      return pair;
    }
#endif
    return byte_floats(__byte_perm(word, 0, upper ? 0x3424 : 0x1404));
  }

  // Two codes, each in the upper byte of a half word.
  static __device__ __forceinline__ uint32_t byte_floats(uint32_t h) {
    const uint32_t sign = h & 0x80008000u;
    if constexpr (F == Format::e4m3) {
      if constexpr (kHalf) return multiply<Pair>(and_or<0x3f803f80u>(h >> 1, sign), 0x5c005c00u);  // * 2^8
      return multiply<Pair>(and_or<0x07f007f0u>(h >> 4, sign), 0x7b807b80u);  // * 2^120
    } else {
      if constexpr (kHalf) return h;
      return multiply<Pair>(and_or<0x0fe00fe0u>(h >> 3, sign), 0x77807780u);  // * 2^112
    }
  }

  // What `eight` takes for a code of zero; of no use to floats.
  static __device__ __forceinline__ uint32_t offset(int zero) {
    if constexpr (F == Format::int4) return static_cast<uint32_t>((kHalf ? 0x6408 : 0x4308) + zero) * 0x00010001u;
    if constexpr (F == Format::int8 && kHalf) return static_cast<uint32_t>(0x6480 + zero) * 0x00010001u;
    if constexpr (F == Format::int8) return to_bits(__float2bfloat162_rn(static_cast<float>(zero)));
    return 0;
  }

  // Two int8 codes p, each in the lower byte of a half word. Half: 1024 + (code + 128) - (1152 + zero). bfloat16 has seven bits
  // of mantissa: 128 + (code & 127), less 128 or, for a negative code, 256, less zero: at most 255, which is exact.
  template <bool kZeros>
  static __device__ __forceinline__ uint32_t byte_integers(uint32_t p, uint32_t offset) {
    if constexpr (kHalf) return subtract<Pair>((p ^ 0x00800080u) | 0x64006400u, kZeros ? offset : 0x64806480u);
    const uint32_t codes = subtract<Pair>(and_or<0x007f007fu>(p, 0x43004300u), and_or<0x00800080u>(p, 0x43004300u));
    if constexpr (kZeros) return subtract<Pair>(codes, offset);
    return codes;
  }

  // Two 4-bit codes in the lowest nibbles of the half words.
  static __device__ __forceinline__ uint32_t nibbles(uint32_t t, uint32_t offset) {
    if constexpr (F == Format::int4) {
      return subtract<Pair>(and_or<0x000f000fu>(t, kHalf ? 0x64006400u : 0x43004300u), offset);
    } else {
      const uint32_t sign = (t << 12) & 0x80008000u;
      if constexpr (kHalf) return and_or<0x0e000e00u>(t << 9, sign);
      return multiply<Pair>(and_or<0x01c001c0u>(t << 6, sign), 0x7e807e80u);  // * 2^126
    }
  }

  // pairs[i] = columns 2i and 2i + 1. int4 always takes its offset, int8 with kZeros.
  template <bool kZeros>
  static __device__ __forceinline__ void eight(const uint32_t (&words)[kWords], uint32_t offset, uint32_t (&pairs)[4]) {
    if constexpr (kWords == 4) {
#pragma unroll
      for (int i = 0; i < 4; i++) pairs[i] = words[i];
    } else if constexpr (kWords == 2) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        if constexpr (F == Format::int8) {
          pairs[i] = byte_integers<kZeros>(__byte_perm(words[i / 2], 0, i % 2 ? 0x4342 : 0x4140), offset);
        } else {
          pairs[i] = two_floats(words[i / 2], i % 2);
        }
      }
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++) pairs[i] = nibbles(words[0] >> (4 * i), offset);
    }
  }
};

// e2m1 numbers times e4m3 scales, exact in either 16-bit format: 2 + 4 bits of mantissa.
template <class Pair>
struct ScaleCodes {
  static constexpr bool kHalf = std::is_same_v<Pair, __half2>;
  // Of a decoded number times `pair`.
  static constexpr float kFactor = kHalf ? 256.0f : 1.0f;
  // A scale twice, times 2^6 for half, whose e2m1 numbers are 2^-14 too small.
  static __device__ __forceinline__ uint32_t pair(uint32_t code) {
    const uint32_t both = (code & 0x7fu) * 0x00010001u;
    if constexpr (kHalf) return multiply<Pair>(both << 7, 0x74007400u);
    return multiply<Pair>(both << 4, 0x7b807b80u);
  }
};

}  // namespace kvant::cuda::linear
