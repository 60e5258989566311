#include "activation_kernels.h"

#include "cuda/check.h"
#include "kvant/cuda/calibration.h"

namespace kvant::cuda::quantize {
namespace {

constexpr int kThreads = 128;
constexpr int kSide = 32;

// The half octave of a magnitude above 0: `floor(2 * (log2(magnitude) + 30))` within the bins. 0x3504f4 are the mantissa bits of the
// least float32 above the square root of 2, which is none itself.
__device__ int bin_of(float magnitude) {
  const uint32_t pattern = __float_as_uint(magnitude);
  const int half = (pattern & 0x7fffffu) >= 0x3504f4u ? 1 : 0;
  const int bin = (static_cast<int>(pattern >> 23) - 127 + 30) * 2 + half;
  return min(kMagnitudeBins - 1, max(0, bin));
}

// A thread per channel takes tokens in order, so that sums are those of the host to the bit. 2 * T * N values are read and written.
__global__ void __launch_bounds__(kThreads) figures_kernel(const float* x, int64_t tokens, int64_t width, FigureSums to, double* wide) {
  __shared__ unsigned bins[kMagnitudeBins + 1];
  for (int bin = threadIdx.x; bin <= kMagnitudeBins; bin += kThreads) bins[bin] = 0;
  __syncthreads();
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (channel < width) {
    double sum = to.sums[channel];
    float largest = to.largest[channel];
#pragma unroll 8
    for (int64_t token = 0; token < tokens; token++) {
      const float value = x[token * width + channel], magnitude = fabsf(value);
      if (wide != nullptr) wide[token * width + channel] = value;
      sum += magnitude;
      if (magnitude > largest) largest = magnitude;
      if (magnitude == 0) atomicAdd(&bins[kMagnitudeBins], 1u);
      else if (magnitude == magnitude) atomicAdd(&bins[bin_of(magnitude)], 1u);
    }
    to.sums[channel] = sum;
    to.largest[channel] = largest;
  }
  __syncthreads();
  for (int bin = threadIdx.x; bin <= kMagnitudeBins; bin += kThreads) {
    if (bins[bin] > 0) atomicAdd(&to.bins[bin], static_cast<unsigned long long>(bins[bin]));
  }
}

// A block per tile on or below the diagonal, through shared memory so that both sides are read and written in rows.
__global__ void mirror_kernel(double* matrix, int64_t n) {
  __shared__ double tile[kSide][kSide + 1];
  if (blockIdx.x > blockIdx.y) return;
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * kSide, col0 = static_cast<int64_t>(blockIdx.x) * kSide;
  for (int i = threadIdx.y; i < kSide; i += blockDim.y) {
    const int64_t row = row0 + i, col = col0 + threadIdx.x;
    if (row < n && col < n) tile[i][threadIdx.x] = matrix[row * n + col];
  }
  __syncthreads();
  for (int i = threadIdx.y; i < kSide; i += blockDim.y) {
    const int64_t row = col0 + i, col = row0 + threadIdx.x;
    if (row < n && col < n && col > row) matrix[row * n + col] = tile[threadIdx.x][i];
  }
}

__global__ void divide_kernel(const double* from, const float* scales, int64_t n, double* to) {
  const int64_t row = blockIdx.y, col = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (col < n) to[row * n + col] = from[row * n + col] / (static_cast<double>(scales[row]) * static_cast<double>(scales[col]));
}

}  // namespace

void add_figures(const float* x, int64_t tokens, int64_t width, const FigureSums& to, double* wide, Stream stream) {
  if (tokens == 0 || width == 0) return;
  figures_kernel<<<static_cast<unsigned>((width + kThreads - 1) / kThreads), kThreads, 0, stream>>>(x, tokens, width, to, wide);
  check_launch("figures of activations");
}

void mirror_lower(double* matrix, int64_t n, Stream stream) {
  if (n == 0) return;
  const auto tiles = static_cast<unsigned>((n + kSide - 1) / kSide);
  mirror_kernel<<<dim3(tiles, tiles), dim3(kSide, 8), 0, stream>>>(matrix, n);
  check_launch("mirroring a matrix");
}

void divide_gram(const double* from, const float* scales, int64_t n, double* to, Stream stream) {
  if (n == 0) return;
  divide_kernel<<<dim3(static_cast<unsigned>((n + 255) / 256), static_cast<unsigned>(n)), 256, 0, stream>>>(from, scales, n, to);
  check_launch("dividing a Gram matrix");
}

}  // namespace kvant::cuda::quantize
