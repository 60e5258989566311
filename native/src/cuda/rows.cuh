#pragma once
// Blocks that work on one row: 16 bytes at a time where rows allow it, and rows that go straight into the form of a product.
#include <cuda_runtime_api.h>

#include <algorithm>

#include "cuda/columns.cuh"
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

// The block's row of `form`, from values [form.cols] in shared memory. `mine`: the largest magnitude among the values that this
// thread wrote; NaN does not count.
template <class Form>
__device__ void write_prepared(const PreparedForm& form, int64_t row, const float* values, float mine, float* shared, const Prepared& to) {
  float scale = form.static_scale;
  __syncthreads();
  if (Form::is_scaled && scale == 0) scale = linear::scale_of<Form>(block_reduce(mine, shared, Most()));
  if (Form::is_scaled && threadIdx.x == 0) to.scales[row] = scale;
  const linear::Quotients quotients(scale);
  for (int octet = threadIdx.x; octet < form.padded_cols / 8; octet += blockDim.x) {
    linear::write_octet<Form>(form, static_cast<size_t>(row), octet, quotients, to.values, values);
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
  const linear::Quotients quotients(scale);
  over_octets<kOctets>(form.cols / 8, [&](int i, int octet) {
    linear::convert_octet<Form>(form, static_cast<size_t>(row), octet, values[i], quotients, to.values);
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
