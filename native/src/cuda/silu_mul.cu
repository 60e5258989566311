// out = gate / (1 + exp(-gate)) * up
// Memory bound: 12 bytes and ~20 operations per value; in the form of a product 8 bytes and its operand.
#include "cuda/launch.cuh"
#include "cuda/op_kernels.h"
#include "cuda/rows.cuh"

namespace kvant::cuda {
namespace {

constexpr int kThreads = 256;

__device__ float silu_product(float gate, float up) { return gate / (1.0f + expf(-gate)) * up; }

// A block takes 4 * kThreads columns of a row. up null: gate rows are [2 * width], gate then up.
__global__ void __launch_bounds__(kThreads) silu_mul_kernel(const float* gate, const float* up, float* out, int width) {
  wait_for_inputs();
  let_next_start();
  const int64_t row = blockIdx.x;
  const float* const x = gate + row * width * (up == nullptr ? 2 : 1);
  const float* const y = up == nullptr ? x + width : up + row * width;
  const auto columns = [&]<int kColumns>(int i) {
    float a[kColumns], b[kColumns];
    load_columns(x + i, a);
    load_columns(y + i, b);
#pragma unroll
    for (int j = 0; j < kColumns; j++) a[j] = silu_product(a[j], b[j]);
    store_columns(out + row * width + i, a);
  };
  const int first = blockIdx.y * 4 * kThreads;
  if (width % 4 == 0) {
    if (first + threadIdx.x * 4 < width) columns.template operator()<4>(first + threadIdx.x * 4);
  } else {
    for (int i = first + threadIdx.x; i < min(first + 4 * kThreads, width); i += kThreads) columns.template operator()<1>(i);
  }
}

// Dynamic shared memory: the row of products.
template <class Form>
__global__ void __launch_bounds__(1024) silu_mul_prepared_kernel(const float* gate, const float* up, PreparedForm form, Prepared to) {
  extern __shared__ __align__(16) float row[];
  __shared__ float largest[32];
  wait_for_inputs();
  let_next_start();
  const int width = form.cols;
  const float* const x = gate + static_cast<int64_t>(blockIdx.x) * width * (up == nullptr ? 2 : 1);
  const float* const y = up == nullptr ? x + width : up + static_cast<int64_t>(blockIdx.x) * width;
  float most = 0;
  over_columns(width, [&]<int kColumns>(int i) {
    float a[kColumns], b[kColumns];
    load_columns(x + i, a);
    load_columns(y + i, b);
#pragma unroll
    for (int j = 0; j < kColumns; j++) {
      a[j] = silu_product(a[j], b[j]);
      most = fmaxf(most, fabsf(a[j]));
    }
    store_columns(row + i, a);
  });
  write_prepared<Form>(form, blockIdx.x, row, most, largest, to);
}

}  // namespace

void silu_mul(const float* gate, const float* up, float* out, int64_t count, int64_t width, Stream stream) {
  const dim3 grid(static_cast<unsigned>(count), static_cast<unsigned>((width + 4 * kThreads - 1) / (4 * kThreads)));
  launch("silu_mul", silu_mul_kernel, grid, kThreads, 0, stream, gate, up, out, static_cast<int>(width));
}

void silu_mul_prepared(const float* gate, const float* up, int64_t count, const PreparedForm& form, const Prepared& to, Stream stream) {
  linear::with_form(form, [&](auto tag) {
    const auto kernel = silu_mul_prepared_kernel<decltype(tag)>;
    const size_t shared = static_cast<size_t>(form.cols) * sizeof(float);
    allow_shared(kernel, shared);
    launch("silu_mul", kernel, static_cast<unsigned>(count), row_threads(form.cols), shared, stream, gate, up, form, to);
  });
}

}  // namespace kvant::cuda
