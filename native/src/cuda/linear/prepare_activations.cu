// code[t, k] = encode(x[t, k] / scale[t]);  scale[t] = absmax(x[t]) / max or static, float32 divisions rounded to nearest
// even, saturating; bf16 and fp16 are rounded without scale. The numbers of src/cpu/linear/prepare_activations.cc.
// x: float32 [T, K]   prepared: [T, padded K] in the order of layout.h   x_scales: float32 [T]
// e4m3 numbers are held as fp16, which is exact, for kernels that multiply in 16 bits and add in float32.
// Reads T * K values twice (the second time from cache), writes T * K operands. One block per token.
#include <cuda_fp16.h>

#include "../check.h"
#include "cpu/linear/float_codes.h"
#include "layout.h"

namespace kvant::cuda::linear {
namespace {

using kvant::linear::decode_float;
using kvant::linear::encode_float;
using kvant::linear::float_definition;

constexpr int kThreads = 1024;
constexpr float kLargest = max_value(Format::fp32);

// What a number becomes before it is held: rounded to A, or divided by the scale and rounded to A. As bits of the operand.
template <Format A, Operand kOperand, bool kCodes>
__device__ uint32_t convert(float x, float scale) {
  constexpr auto definition = float_definition(A);
  if constexpr (A == Format::int8) {
    constexpr float kLimit = max_value(A);
    const float quotient = scale > 0 ? x / scale : 0.0f;
    return static_cast<uint32_t>(quotient == quotient ? __float2int_rn(fminf(fmaxf(quotient, -kLimit), kLimit)) : 0) & 0xffu;
  } else if constexpr (A == Format::e4m3) {
    const uint32_t code = scale > 0 ? encode_float(x / scale, definition) : 0;
    if constexpr (kCodes) return code;
    return __half_as_ushort(__float2half_rn(decode_float(code, A)));
  } else if constexpr (A == Format::fp32) {
    return __float_as_uint(x);
  } else {
    const uint32_t code = encode_float(x, definition);
    return kOperand == Operand::fp32 ? __float_as_uint(decode_float(code, A)) : code;
  }
}

template <Format A, Operand kOperand, bool kCodes>
__global__ void __launch_bounds__(kThreads) prepare_kernel(const Layout layout, float static_scale, const float* x, void* prepared, float* x_scales) {
  constexpr bool kScaled = A == Format::int8 || A == Format::e4m3;
  constexpr int kBytes = kCodes || kOperand == Operand::int8 ? 1 : kOperand == Operand::fp32 ? 4 : 2;
  const size_t token = blockIdx.x;
  const float* from = x + token * layout.cols;
  float scale = static_scale;
  if (kScaled && static_scale == 0) {
    __shared__ float largest[kThreads / 32];
    float value = 0;
#pragma unroll 4
    for (int k = threadIdx.x; k < layout.cols; k += kThreads) value = fmaxf(value, fabsf(from[k]));
    for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
    if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = value;
    __syncthreads();
    value = 0;
    for (int warp = 0; warp < kThreads / 32; warp++) value = fmaxf(value, largest[warp]);
    scale = fminf(value, kLargest) / max_value(A);
  }
  if (kScaled && threadIdx.x == 0 && blockIdx.y == 0) x_scales[token] = scale;
  const int octets = layout.padded_cols / 8;
  for (int octet = blockIdx.y * kThreads + threadIdx.x; octet < octets; octet += gridDim.y * kThreads) {
    uint32_t out[8];
    for (int i = 0; i < 8; i++) {
      const int column = layout.source_column(octet * 8 + i);
      out[i] = column < 0 ? 0 : convert<A, kOperand, kCodes>(from[column], scale);
    }
    if constexpr (kBytes == 4) {
      uint4* to = static_cast<uint4*>(prepared) + (token * layout.padded_cols + octet * 8) / 4;
      to[0] = {out[0], out[1], out[2], out[3]};
      to[1] = {out[4], out[5], out[6], out[7]};
    } else if constexpr (kBytes == 2) {
      static_cast<uint4*>(prepared)[token * octets + octet] = {out[0] | out[1] << 16, out[2] | out[3] << 16, out[4] | out[5] << 16, out[6] | out[7] << 16};
    } else {
      const int c = octet % 4, unit = octet / 4 % 2, chunk = octet / 8;
      static_cast<uint2*>(prepared)[token * octets + chunk * 8 + c * 2 + unit] = {
          out[0] | out[1] << 8 | out[2] << 16 | out[3] << 24, out[4] | out[5] << 8 | out[6] << 16 | out[7] << 24};
    }
  }
}

template <Format A, Operand kOperand, bool kCodes = false>
void launch(const Layout& layout, float static_scale, const float* x, int tokens, void* prepared, float* x_scales, cudaStream_t stream) {
  // A token that needs no absmax is shared by several blocks.
  const bool dynamic = (A == Format::int8 || A == Format::e4m3) && static_scale == 0;
  const unsigned parts = dynamic ? 1 : static_cast<unsigned>((layout.padded_cols / 8 + kThreads - 1) / kThreads);
  prepare_kernel<A, kOperand, kCodes><<<dim3(static_cast<unsigned>(tokens), parts), kThreads, 0, stream>>>(layout, static_scale, x, prepared, x_scales);
  check_launch("prepare activations");
}

}  // namespace

void prepare_activations(const Layout& layout, Format activation, float static_scale, Operand operand, bool codes,
                         const float* x, int tokens, void* prepared, float* x_scales, cudaStream_t stream) {
  const auto with = [&](auto launcher) { launcher(layout, static_scale, x, tokens, prepared, x_scales, stream); };
  const bool wide = operand == Operand::fp32;
  switch (activation) {
    case Format::bf16: return with(wide ? launch<Format::bf16, Operand::fp32> : launch<Format::bf16, Operand::bf16>);
    case Format::fp16: return with(wide ? launch<Format::fp16, Operand::fp32> : launch<Format::fp16, Operand::fp16>);
    case Format::int8: return with(launch<Format::int8, Operand::int8>);
    case Format::e4m3: return with(codes ? launch<Format::e4m3, Operand::fp16, true> : launch<Format::e4m3, Operand::fp16>);
    default: return with(launch<Format::fp32, Operand::fp32>);
  }
}

}  // namespace kvant::cuda::linear
