#pragma once
// Blocks that work on one row: 16 bytes at a time where rows allow it, and rows that go straight into the form of a product.
#include <cuda_runtime_api.h>

#include <algorithm>

#include "cuda/linear/prepare_row.cuh"
#include "cuda/reduce.cuh"

namespace kvant::cuda {

// Calls body(i) with i = 4, the columns of one access where `width` is a multiple of four (rows then start 16-byte aligned),
// else 1: body<columns>(first column).
template <class Body>
__device__ __forceinline__ void over_columns(int width, const Body& body) {
  if (width % 4 == 0) {
    for (int i = threadIdx.x * 4; i < width; i += blockDim.x * 4) body.template operator()<4>(i);
  } else {
    for (int i = threadIdx.x; i < width; i += blockDim.x) body.template operator()<1>(i);
  }
}

// 1, 2 or 4 columns, which start aligned to their bytes.
template <int kColumns>
__device__ __forceinline__ void load_columns(const float* from, float (&to)[kColumns]) {
  if constexpr (kColumns == 4) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  } else if constexpr (kColumns == 2) {
    const float2 v = *reinterpret_cast<const float2*>(from);
    to[0] = v.x, to[1] = v.y;
  } else {
    static_assert(kColumns == 1);
    to[0] = *from;
  }
}
template <int kColumns>
__device__ __forceinline__ void store_columns(float* to, const float (&from)[kColumns]) {
  if constexpr (kColumns == 4) {
    *reinterpret_cast<float4*>(to) = {from[0], from[1], from[2], from[3]};
  } else if constexpr (kColumns == 2) {
    *reinterpret_cast<float2*>(to) = {from[0], from[1]};
  } else {
    static_assert(kColumns == 1);
    *to = from[0];
  }
}

// Eight columns that start 32-byte aligned.
__device__ __forceinline__ void load_octet(const float* from, float (&to)[8]) {
  const float4 low = reinterpret_cast<const float4*>(from)[0], high = reinterpret_cast<const float4*>(from)[1];
  to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w, to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
}
__device__ __forceinline__ void store_octet_floats(float* to, const float (&from)[8]) {
  reinterpret_cast<float4*>(to)[0] = {from[0], from[1], from[2], from[3]};
  reinterpret_cast<float4*>(to)[1] = {from[4], from[5], from[6], from[7]};
}

// The block's row of `form`, from values [form.cols] in shared memory. `mine`: the largest magnitude among the values that this
// thread wrote; NaN does not count.
template <class Form>
__device__ void write_prepared(const PreparedForm& form, int64_t row, const float* values, float mine, float* shared, const Prepared& to) {
  float scale = form.static_scale;
  __syncthreads();
  if (Form::is_scaled && scale == 0) scale = linear::scale_of<Form>(block_reduce(mine, shared, Most()));
  if (Form::is_scaled && threadIdx.x == 0) to.scales[row] = scale;
  for (int octet = threadIdx.x; octet < form.padded_cols / 8; octet += blockDim.x) {
    linear::write_octet<Form>(form, static_cast<size_t>(row), octet, scale, to.values, values);
  }
}

// Rows whose columns all lie one after the other, in whole runs of eight: threads can hold them in registers.
inline bool has_whole_octets(const PreparedForm& form) { return form.cols == form.padded_cols && !form.has_gaps(); }

// The thread's runs of eight columns, octets threadIdx.x + i * blockDim.x below `octets`: body(i, octet).
template <int kOctets, class Body>
__device__ __forceinline__ void over_octets(int octets, const Body& body) {
#pragma unroll
  for (int i = 0; i < kOctets; i++) {
    const int octet = threadIdx.x + i * blockDim.x;
    if (octet < octets) body(i, octet);
  }
}

// The block's row of `form` from registers; `most`: the largest magnitude among the thread's values.
template <class Form, int kOctets>
__device__ __forceinline__ void store_prepared(const PreparedForm& form, int64_t row, const float (&values)[kOctets][8], float most, float* shared,
                                               const Prepared& to) {
  float scale = form.static_scale;
  if (Form::is_scaled && scale == 0) scale = linear::scale_of<Form>(block_reduce(most, shared, Most()));
  if (Form::is_scaled && threadIdx.x == 0) to.scales[row] = scale;
  over_octets<kOctets>(form.cols / 8, [&](int i, int octet) {
    uint32_t out[8];
#pragma unroll
    for (int j = 0; j < 8; j++) out[j] = linear::convert<Form>(values[i][j], scale);
    linear::store_octet<Form>(form, static_cast<size_t>(row), octet, out, to.values);
  });
}

// Threads of a block per row: one 16-byte access each while that fits, whole warps.
inline unsigned row_threads(int64_t width) { return static_cast<unsigned>(std::clamp<int64_t>((width / 4 + 31) / 32 * 32, 32, 1024)); }


// Lets a kernel have `bytes` of dynamic shared memory; more than 48 KiB must be asked for.
template <class Kernel>
void allow_shared(Kernel* kernel, size_t bytes) {
  if (bytes <= 48 * 1024) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)), "a kernel's shared memory");
}

}  // namespace kvant::cuda
