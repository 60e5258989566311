// out = gate / (1 + exp(-gate)) * up
// Memory bound: 12 bytes and ~20 operations per value; in the form of a product 8 bytes and its operand.
#include "cuda/cluster.cuh"
#include "cuda/launch.cuh"
#include "cuda/op_kernels.h"
#include "cuda/rows.cuh"

namespace kvant::cuda {
namespace {

constexpr int kThreads = 256;

__device__ float silu_product(float gate, float up) { return gate / (1.0f + expf(-gate)) * up; }

// A block takes 4 * kThreads columns of a row. up null: gate rows are [2 * width], gate then up.
__global__ void __launch_bounds__(kThreads) silu_mul_kernel(const float* gate, const float* up, float* out, int width) {
  let_next_start();
  wait_for_inputs();
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
  let_next_start();
  wait_for_inputs();
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

constexpr int kOctetsPerThread = 4;

// A cluster of kRowCluster blocks per row; a thread holds up to kOctetsPerThread runs of eight columns in registers. For rows
// without padding between or behind their columns: cols == padded_cols, a multiple of 64.
template <class Form>
__global__ void __launch_bounds__(kThreads) silu_mul_cluster_kernel(const float* gate, const float* up, PreparedForm form, Prepared to) {
  __shared__ float largest[32], shared[kRowCluster];
  let_next_start();
  wait_for_inputs();
  const int width = form.cols, octets = width / 8, part = static_cast<int>(blockIdx.x % kRowCluster);
  const int64_t row = blockIdx.x / kRowCluster;
  const float* const x = gate + row * width * (up == nullptr ? 2 : 1);
  const float* const y = up == nullptr ? x + width : up + row * width;
  const int first = octets * part / static_cast<int>(kRowCluster), end = octets * (part + 1) / static_cast<int>(kRowCluster);
  float values[kOctetsPerThread][8];
  float most = 0;
#pragma unroll
  for (int i = 0; i < kOctetsPerThread; i++) {
    const int octet = first + i * kThreads + static_cast<int>(threadIdx.x);
    if (octet >= end) break;
#pragma unroll
    for (int half = 0; half < 8; half += 4) {
      float a[4], b[4];
      load_columns(x + octet * 8 + half, a);
      load_columns(y + octet * 8 + half, b);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        values[i][half + j] = silu_product(a[j], b[j]);
        most = fmaxf(most, fabsf(values[i][half + j]));
      }
    }
  }
  float scale = form.static_scale;
  if (Form::is_scaled && scale == 0) scale = linear::scale_of<Form>(cluster_most(block_reduce(most, largest, Most()), shared));
  if (Form::is_scaled && part == 0 && threadIdx.x == 0) to.scales[row] = scale;
#pragma unroll
  for (int i = 0; i < kOctetsPerThread; i++) {
    const int octet = first + i * kThreads + static_cast<int>(threadIdx.x);
    if (octet >= end) break;
    uint32_t out[8];
#pragma unroll
    for (int j = 0; j < 8; j++) out[j] = linear::convert<Form>(values[i][j], scale);
    linear::store_octet<Form>(form, static_cast<size_t>(row), octet, out, to.values);
  }
}

// Narrow rows gain nothing from several blocks.
bool takes_clusters(const PreparedForm& form) {
  constexpr int kLeast = 2048, kMost = 8 * kThreads * kOctetsPerThread * static_cast<int>(kRowCluster);
  return launches_overlap() && form.cols == form.padded_cols && form.cols >= kLeast && form.cols <= kMost;
}

}  // namespace

void silu_mul(const float* gate, const float* up, float* out, int64_t count, int64_t width, Stream stream) {
  const dim3 grid(static_cast<unsigned>(count), static_cast<unsigned>((width + 4 * kThreads - 1) / (4 * kThreads)));
  launch("silu_mul", silu_mul_kernel, grid, kThreads, 0, stream, gate, up, out, static_cast<int>(width));
}

void silu_mul_prepared(const float* gate, const float* up, int64_t count, const PreparedForm& form, const Prepared& to, Stream stream) {
  linear::with_form(form, [&](auto tag) {
    if (takes_clusters(form)) {
      const auto grid = static_cast<unsigned>(count) * kRowCluster;
      return launch_clusters("silu_mul", silu_mul_cluster_kernel<decltype(tag)>, kRowCluster, grid, kThreads, 0, stream, gate, up, form, to);
    }
    const auto kernel = silu_mul_prepared_kernel<decltype(tag)>;
    const size_t shared = static_cast<size_t>(form.cols) * sizeof(float);
    allow_shared(kernel, shared);
    launch("silu_mul", kernel, static_cast<unsigned>(count), row_threads(form.cols), shared, stream, gate, up, form, to);
  });
}

}  // namespace kvant::cuda
