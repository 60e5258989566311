// What becomes of one row of activations on its way into a matrix product; one block works on a row.
// code[k] = encode(x[k] / scale);  scale = absmax(x) / max or static, float32 quotients rounded to nearest even, saturating;
// bf16 and fp16 are rounded without scale. The numbers of src/cpu/linear/prepare_activations.cc.
// e4m3 numbers may be held as fp16, which is exact, for kernels that multiply in 16 bits and add in float32. So may bf16 numbers, over
// a power of two that brings the largest of the row to 2^14 .. 2^15: exact from 2^-31 of it on, off by at most 2^-39 of it below,
// which is less than float32 sums lose.
#pragma once
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "../check.h"
#include "cpu/linear/float_codes.h"
#include "cuda/columns.cuh"
#include "decode.cuh"
#include "layout.h"

namespace kvant::cuda::linear {

// A form as a constant inside kernels; with_form finds it.
template <Format A, Operand O, bool C>
struct FormTag {
  static constexpr Format activation = A;
  static constexpr Operand operand = O;
  static constexpr bool codes = C;
  static constexpr bool is_scaled = cuda::is_scaled(A, O);
  static constexpr int bytes = C || O == Operand::int8 ? 1 : O == Operand::fp32 ? 4 : 2;
};

template <typename Body>
void with_form(const PreparedForm& form, const Body& body) {
  const bool wide = form.operand == Operand::fp32;
  switch (form.activation) {
    case Format::bf16:
      if (form.operand == Operand::fp16) return body(FormTag<Format::bf16, Operand::fp16, false>());
      return wide ? body(FormTag<Format::bf16, Operand::fp32, false>()) : body(FormTag<Format::bf16, Operand::bf16, false>());
    case Format::fp16: return wide ? body(FormTag<Format::fp16, Operand::fp32, false>()) : body(FormTag<Format::fp16, Operand::fp16, false>());
    case Format::int8: return body(FormTag<Format::int8, Operand::int8, false>());
    case Format::e4m3: return form.codes ? body(FormTag<Format::e4m3, Operand::fp16, true>()) : body(FormTag<Format::e4m3, Operand::fp16, false>());
    default: return body(FormTag<Format::fp32, Operand::fp32, false>());
  }
}

// x / scale, 0 where the scale is 0, for many x: the nearest float32, as a division gives it, wherever a code depends on that. The
// quotient by the inverse is off by a unit or so in its last place, and its remainder tells by what. A division for each value would
// take some ten instructions more, and row kernels are bound by those as soon as their input is 16 bits.
class Quotients {
 public:
  __device__ explicit Quotients(float scale)
      : lift_(scale < 0x1p-80f ? 0x1p100f : scale > 0x1p100f ? 0x1p-60f : 1.0f), scale_(scale * lift_), inverse_(1 / scale_) {}

  __device__ float of(float x) const {
    const float lifted = x * lift_, quotient = lifted * inverse_;
    // Codes end below 512, and infinity has no remainder. Signs are such that -0 stays -0.
    const float rest = fabsf(quotient) < 1024 ? fmaf(quotient, scale_, -lifted) : 0;
    return scale_ > 0 ? fmaf(-rest, inverse_, quotient) : 0.0f;
  }

  // Whether `approximate` is off by 2^-22 of itself at most.
  __device__ bool are_plain() const { return lift_ == 1 && scale_ > 0; }
  __device__ float approximate(float x) const { return x * inverse_; }

  // The same where the scale is a power of two, at least 2^-126: exact as far as fp16 reaches.
  __device__ float of_power(float x) const { return x * lift_ * inverse_; }

 private:
  float lift_;  // a power of two that keeps remainders and the inverse from underflow
  float scale_, inverse_;
};

// Bits of the operand that a number becomes.
template <class Form>
__device__ __forceinline__ uint32_t convert(float x, const Quotients& quotients) {
  constexpr Format A = Form::activation;
  constexpr auto definition = kvant::linear::float_definition(A);
  if constexpr (A == Format::int8) {
    constexpr float kLimit = max_value(A);
    const float quotient = quotients.of(x);
    return static_cast<uint32_t>(quotient == quotient ? __float2int_rn(fminf(fmaxf(quotient, -kLimit), kLimit)) : 0);
  } else if constexpr (A == Format::e4m3) {
    // The device's conversion has the bits of encode_float: nearest even, saturating, one NaN.
    const __nv_fp8_storage_t code = __nv_cvt_float_to_fp8(quotients.of(x), __NV_SATFINITE, __NV_E4M3);
    if constexpr (Form::codes) return code;
    return __half_raw(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3)).x;
  } else if constexpr (A == Format::fp32) {
    return __float_as_uint(x);
  } else {
    const uint32_t code = kvant::linear::encode_float(x, definition);
    if constexpr (Form::is_scaled) return __half_as_ushort(__float2half_rn(quotients.of_power(__uint_as_float(code << 16))));
    return Form::operand == Operand::fp32 ? __float_as_uint(kvant::linear::decode_float(code, A)) : code;
  }
}

// int8 codes of eight values, in the lowest bytes, a few instructions each; false where one of them needs a closer look: it is no
// number, out of range, or so near the middle between two codes that the approximate quotient may lie on the other side.
__device__ __forceinline__ bool quick_codes(const float (&values)[8], const Quotients& quotients, uint32_t (&out)[8]) {
  constexpr float kRounding = 12582912;  // 1.5 * 2^23: a sum with it has the nearest integer in its lowest bits
  bool are_sure = quotients.are_plain();
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const float quotient = quotients.approximate(values[i]), sum = quotient + kRounding, rest = quotient - (sum - kRounding);
    are_sure = are_sure && fabsf(rest) < 0.4999f && fabsf(quotient) < 127.25f;
    out[i] = __float_as_uint(sum);
  }
  return are_sure;
}

// bf16 numbers of eight values, two to a word, as such or over the power of two that fp16 takes; false where one of them needs a closer
// look: it is no number, or rounds past the largest.
template <class Form>
__device__ __forceinline__ bool quick_pairs(const float (&values)[8], const Quotients& quotients, uint32_t (&pairs)[4]) {
  // A plain scale tells that no value of the row is near the largest number; conversion keeps a NaN.
  bool are_sure = !Form::is_scaled || quotients.are_plain();
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float low = values[2 * i], high = values[2 * i + 1];
    pairs[i] = to_bits(__floats2bfloat162_rn(low, high));
    if constexpr (Form::is_scaled) {
      const float2 rounded = {__uint_as_float(pairs[i] << 16), __uint_as_float(pairs[i] & 0xffff0000u)};
      pairs[i] = to_bits(__floats2half2_rn(quotients.approximate(rounded.x), quotients.approximate(rounded.y)));
    } else {
      are_sure = are_sure && fabsf(low) <= max_value(Format::bf16) && fabsf(high) <= max_value(Format::bf16);
    }
  }
  return are_sure;
}

// Scale of a row from its largest magnitude.
template <class Form>
__device__ __forceinline__ float scale_of(float largest) {
  const float finite = fminf(largest, max_value(Format::fp32));
  if constexpr (Form::activation == Format::bf16) {
    // 2^-14 of the largest power of two in it. At least 2^-126, even for zeros, so that NaN stays and the inverse is finite.
    constexpr uint32_t kOne = 1u << 23;
    return __uint_as_float(max(__float_as_uint(finite) & 0x7f800000u, 15 * kOne) - 14 * kOne);
  }
  return finite / max_value(Form::activation);
}

// The lowest bytes of four words.
__device__ __forceinline__ uint32_t pack_bytes(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return __byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, d, 0x0040), 0x5410);
}

// Where a paired unit of the padded row `token` lies, whose vectors are `vector` of the row and those after it.
template <int kBytes>
struct PairedUnit {
  uint32_t* row;
  int first;

  __device__ __forceinline__ PairedUnit(const PreparedForm& form, size_t token, int vector, void* prepared) {
    if (form.panel_rows == 0) {
      row = static_cast<uint32_t*>(prepared) + token * (form.padded_cols * kBytes / 4), first = vector;
    } else {
      row = static_cast<uint32_t*>(prepared) + (static_cast<size_t>(vector / 8) * form.panel_rows + token) * 32;
      first = (vector % 8) ^ static_cast<int>(token % 8);
    }
  }
  // A unit has a power of two of vectors and begins at a multiple of it.
  __device__ __forceinline__ uint32_t& word(int vector, int c) const { return row[(first ^ vector) * 4 + c]; }
};

// Eight operands of 16 bits, two to a word, to columns 8 * octet .. 8 * octet + 7 of the padded row `token`.
__device__ __forceinline__ void store_pairs(const PreparedForm& form, size_t token, int octet, const uint32_t (&pairs)[4], void* prepared) {
  if (!form.paired) {
    static_cast<uint4*>(prepared)[token * (form.padded_cols / 8) + octet] = {pairs[0], pairs[1], pairs[2], pairs[3]};
    return;
  }
  const PairedUnit<2> unit(form, token, octet / 4 * 4, prepared);
#pragma unroll
  for (int i = 0; i < 4; i++) unit.word(i, octet % 4) = pairs[i];
}

// Eight operands of any width, of whose words the lowest bits count.
template <class Form>
__device__ __forceinline__ void store_octet(const PreparedForm& form, size_t token, int octet, const uint32_t (&out)[8], void* prepared) {
  const int octets = form.padded_cols / 8;
  if constexpr (Form::bytes == 4) {
    uint4* to = static_cast<uint4*>(prepared) + (token * form.padded_cols + octet * 8) / 4;
    to[0] = {out[0], out[1], out[2], out[3]};
    to[1] = {out[4], out[5], out[6], out[7]};
  } else if constexpr (Form::bytes == 2) {
    store_pairs(form, token, octet, {out[0] | out[1] << 16, out[2] | out[3] << 16, out[4] | out[5] << 16, out[6] | out[7] << 16}, prepared);
  } else {
    const uint2 plain = {pack_bytes(out[0], out[1], out[2], out[3]), pack_bytes(out[4], out[5], out[6], out[7])};
    const uint2 interleaved = {__byte_perm(plain.x, plain.y, 0x5140), __byte_perm(plain.x, plain.y, 0x7362)};
    const uint2 codes = form.interleaved ? interleaved : plain;
    if (form.paired) {
      const PairedUnit<1> unit(form, token, octet / 4 * 2, prepared);
      unit.word(0, octet % 4) = codes.x, unit.word(1, octet % 4) = codes.y;
    } else {
      const int c = octet % 4, unit = octet / 4 % 2, chunk = octet / 8;
      static_cast<uint2*>(prepared)[token * octets + chunk * 8 + c * 2 + unit] = codes;
    }
  }
}

template <class Form>
__device__ __forceinline__ void convert_octet(const PreparedForm& form, size_t token, int octet, const float (&values)[8],
                                              const Quotients& quotients, void* prepared) {
  uint32_t out[8];
  if constexpr (Form::activation == Format::int8) {
    if (quick_codes(values, quotients, out)) return store_octet<Form>(form, token, octet, out, prepared);
  } else if constexpr (Form::activation == Format::bf16 && Form::bytes == 2) {
    uint32_t pairs[4];
    if (quick_pairs<Form>(values, quotients, pairs)) return store_pairs(form, token, octet, pairs, prepared);
  }
#pragma unroll
  for (int i = 0; i < 8; i++) out[i] = convert<Form>(values[i], quotients);
  store_octet<Form>(form, token, octet, out, prepared);
}

// Those columns of a row of the source, [form.cols]; row 0 of the source is 16-byte aligned. Groups are padded to whole units, so
// eight columns lie in one.
template <class Form>
__device__ __forceinline__ void write_octet(const PreparedForm& form, size_t token, int octet, const Quotients& quotients, void* prepared,
                                            const float* row) {
  const int at = octet * 8, group = form.has_gaps() ? at / form.group_stride : 0, within = at - group * form.group_stride;
  const int column = group * form.group_cols + within;
  const int present = min(form.has_gaps() ? form.group_cols - within : 8, form.cols - column);
  if (present >= 8 && form.cols % 4 == 0 && column % 4 == 0) {
    float values[8];
    load_octet(row + column, values);
    return convert_octet<Form>(form, token, octet, values, quotients, prepared);
  }
  uint32_t out[8];
#pragma unroll
  for (int i = 0; i < 8; i++) out[i] = i < present ? convert<Form>(row[column + i], quotients) : 0;
  store_octet<Form>(form, token, octet, out, prepared);
}

}  // namespace kvant::cuda::linear
