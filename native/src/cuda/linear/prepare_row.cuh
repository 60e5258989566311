// What becomes of one row of activations on its way into a matrix product; one block works on a row.
// code[k] = encode(x[k] / scale);  scale = absmax(x) / max or static, float32 divisions rounded to nearest even, saturating;
// bf16 and fp16 are rounded without scale. The numbers of src/cpu/linear/prepare_activations.cc.
// e4m3 numbers may be held as fp16, which is exact, for kernels that multiply in 16 bits and add in float32.
#pragma once
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "../check.h"
#include "cpu/linear/float_codes.h"
#include "layout.h"

namespace kvant::cuda::linear {

// A form as a constant inside kernels; with_form finds it.
template <Format A, Operand O, bool C>
struct FormTag {
  static constexpr Format activation = A;
  static constexpr Operand operand = O;
  static constexpr bool codes = C;
  static constexpr bool is_scaled = A == Format::int8 || A == Format::e4m3;
  static constexpr int bytes = C || O == Operand::int8 ? 1 : O == Operand::fp32 ? 4 : 2;
};

template <typename Body>
void with_form(const PreparedForm& form, const Body& body) {
  const bool wide = form.operand == Operand::fp32;
  switch (form.activation) {
    case Format::bf16: return wide ? body(FormTag<Format::bf16, Operand::fp32, false>()) : body(FormTag<Format::bf16, Operand::bf16, false>());
    case Format::fp16: return wide ? body(FormTag<Format::fp16, Operand::fp32, false>()) : body(FormTag<Format::fp16, Operand::fp16, false>());
    case Format::int8: return body(FormTag<Format::int8, Operand::int8, false>());
    case Format::e4m3: return form.codes ? body(FormTag<Format::e4m3, Operand::fp16, true>()) : body(FormTag<Format::e4m3, Operand::fp16, false>());
    default: return body(FormTag<Format::fp32, Operand::fp32, false>());
  }
}

// Bits of the operand that a number becomes.
template <class Form>
__device__ __forceinline__ uint32_t convert(float x, float scale) {
  constexpr Format A = Form::activation;
  constexpr auto definition = kvant::linear::float_definition(A);
  if constexpr (A == Format::int8) {
    constexpr float kLimit = max_value(A);
    const float quotient = scale > 0 ? x / scale : 0.0f;
    return static_cast<uint32_t>(quotient == quotient ? __float2int_rn(fminf(fmaxf(quotient, -kLimit), kLimit)) : 0) & 0xffu;
  } else if constexpr (A == Format::e4m3) {
    // The device's conversion has the bits of encode_float: nearest even, saturating, one NaN.
    const __nv_fp8_storage_t code = scale > 0 ? __nv_cvt_float_to_fp8(x / scale, __NV_SATFINITE, __NV_E4M3) : 0;
    if constexpr (Form::codes) return code;
    return __half_raw(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3)).x;
  } else if constexpr (A == Format::fp32) {
    return __float_as_uint(x);
  } else {
    const uint32_t code = kvant::linear::encode_float(x, definition);
    return Form::operand == Operand::fp32 ? __float_as_uint(kvant::linear::decode_float(code, A)) : code;
  }
}

// Scale of a row from its largest magnitude.
template <class Form>
__device__ __forceinline__ float scale_of(float largest) {
  return fminf(largest, max_value(Format::fp32)) / max_value(Form::activation);
}

// Eight operands to columns 8 * octet .. 8 * octet + 7 of the padded row `token`.
template <class Form>
__device__ __forceinline__ void store_octet(const PreparedForm& form, size_t token, int octet, const uint32_t (&out)[8], void* prepared) {
  const int octets = form.padded_cols / 8;
  if constexpr (Form::bytes == 4) {
    uint4* to = static_cast<uint4*>(prepared) + (token * form.padded_cols + octet * 8) / 4;
    to[0] = {out[0], out[1], out[2], out[3]};
    to[1] = {out[4], out[5], out[6], out[7]};
  } else if constexpr (Form::bytes == 2) {
    if (form.paired) {
      uint32_t* const pairs = static_cast<uint32_t*>(prepared) + (token * octets + octet / 4 * 4) * 4 + octet % 4;
#pragma unroll
      for (int i = 0; i < 4; i++) pairs[i / 2 * 8 + i % 2 * 4] = out[2 * i] | out[2 * i + 1] << 16;
      return;
    }
    static_cast<uint4*>(prepared)[token * octets + octet] = {out[0] | out[1] << 16, out[2] | out[3] << 16, out[4] | out[5] << 16, out[6] | out[7] << 16};
  } else if (form.paired) {
    uint32_t* const unit = static_cast<uint32_t*>(prepared) + (token * octets + octet / 4 * 4) * 2 + octet % 4;
    unit[0] = out[0] | out[1] << 8 | out[2] << 16 | out[3] << 24;
    unit[4] = out[4] | out[5] << 8 | out[6] << 16 | out[7] << 24;
  } else {
    const int c = octet % 4, unit = octet / 4 % 2, chunk = octet / 8;
    static_cast<uint2*>(prepared)[token * octets + chunk * 8 + c * 2 + unit] = {
        out[0] | out[1] << 8 | out[2] << 16 | out[3] << 24, out[4] | out[5] << 8 | out[6] << 16 | out[7] << 24};
  }
}

// Those columns of a row of the source, [form.cols]; row 0 of the source is 16-byte aligned. Groups are padded to whole units, so
// eight columns lie in one.
template <class Form>
__device__ __forceinline__ void write_octet(const PreparedForm& form, size_t token, int octet, float scale, void* prepared, const float* row) {
  const int at = octet * 8, group = form.has_gaps() ? at / form.group_stride : 0, within = at - group * form.group_stride;
  const int column = group * form.group_cols + within;
  const int present = min(form.has_gaps() ? form.group_cols - within : 8, form.cols - column);
  uint32_t out[8];
  if (present >= 8 && form.cols % 4 == 0 && column % 4 == 0) {
    const float4 low = *reinterpret_cast<const float4*>(row + column), high = *reinterpret_cast<const float4*>(row + column + 4);
    const float values[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
    for (int i = 0; i < 8; i++) out[i] = convert<Form>(values[i], scale);
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++) out[i] = i < present ? convert<Form>(row[column + i], scale) : 0;
  }
  store_octet<Form>(form, token, octet, out, prepared);
}

}  // namespace kvant::cuda::linear
