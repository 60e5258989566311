// out = x / sqrt(mean(x^2) + epsilon) * weight over each run of norm_width values; with a residual first x += residual.
// One block per run. Memory bound: 8 bytes per value, 16 with a residual; in the form of a product 4 (12) and its operand.
// Squares are summed in double, whose rate is half that of float32 here, so no long sum loses digits.
#include "cuda/launch.cuh"
#include "cuda/op_kernels.h"
#include "cuda/rows.cuh"

namespace kvant::cuda {
namespace {

__device__ __forceinline__ float inverse_root(double squares, int width, float epsilon) {
  return static_cast<float>(rsqrt(squares * (1.0 / width) + static_cast<double>(epsilon)));
}

// Adds the residual and leaves x in `row`; returns 1 / sqrt(mean(x^2) + epsilon).
__device__ float normalize_row(float* x, const float* residual, int width, float epsilon, float* row, double* shared) {
  double squares = 0;
  over_columns(width, [&]<int kColumns>(int i) {
    float values[kColumns];
    load_columns(x + i, values);
    if (residual != nullptr) {
      float more[kColumns];
      load_columns(residual + i, more);
#pragma unroll
      for (int j = 0; j < kColumns; j++) values[j] += more[j];
      store_columns(x + i, values);
    }
#pragma unroll
    for (int j = 0; j < kColumns; j++) squares += static_cast<double>(values[j]) * values[j];
    if (row != nullptr) store_columns(row + i, values);
  });
  const double total = block_reduce(squares, shared, Sum());
  return inverse_root(total, width, epsilon);
}

__global__ void __launch_bounds__(1024) rms_norm_kernel(float* all_x, const float* all_residual, const float* weight, int norm_width,
                                                        float epsilon, float* out) {
  __shared__ double partial[32];
  let_next_start();
  wait_for_inputs();
  const int64_t start = static_cast<int64_t>(blockIdx.x) * norm_width;
  float* const x = all_x + start;
  const float inverse = normalize_row(x, all_residual == nullptr ? nullptr : all_residual + start, norm_width, epsilon, nullptr, partial);
  over_columns(norm_width, [&]<int kColumns>(int i) {
    float values[kColumns], factors[kColumns];
    load_columns(x + i, values);
    load_columns(weight + i, factors);
#pragma unroll
    for (int j = 0; j < kColumns; j++) values[j] = values[j] * inverse * factors[j];
    store_columns(out + start + i, values);
  });
}

// Dynamic shared memory: the row.
template <class Form>
__global__ void __launch_bounds__(1024) rms_norm_prepared_kernel(float* all_x, const float* all_residual, const float* weight, int width,
                                                                 float epsilon, PreparedForm form, Prepared to) {
  extern __shared__ __align__(16) float row[];
  __shared__ double partial[32];
  __shared__ float largest[32];
  let_next_start();
  wait_for_inputs();
  const int64_t start = static_cast<int64_t>(blockIdx.x) * width;
  const float inverse =
      normalize_row(all_x + start, all_residual == nullptr ? nullptr : all_residual + start, width, epsilon, row, partial);
  float most = 0;
  over_columns(width, [&]<int kColumns>(int i) {
    float values[kColumns], factors[kColumns];
    load_columns(row + i, values);
    load_columns(weight + i, factors);
#pragma unroll
    for (int j = 0; j < kColumns; j++) {
      values[j] = values[j] * inverse * factors[j];
      most = fmaxf(most, fabsf(values[j]));
    }
    store_columns(row + i, values);
  });
  write_prepared<Form>(form, blockIdx.x, row, most, largest, to);
}

// The same for rows of whole octets, in registers.
template <class Form, int kOctets>
__global__ void __launch_bounds__(1024) rms_norm_octets_kernel(float* all_x, const float* all_residual, const float* weight, float epsilon,
                                                               PreparedForm form, Prepared to) {
  __shared__ double partial[32];
  __shared__ float largest[32];
  const int octets = form.cols / 8;
  const int64_t start = static_cast<int64_t>(blockIdx.x) * form.cols;
  float values[kOctets][8], factors[kOctets][8];
  let_next_start();
  // Weights are no earlier kernel's result.
  over_octets<kOctets>(octets, [&](int i, int octet) { load_octet(weight + octet * 8, factors[i]); });
  wait_for_inputs();
  double squares = 0;
  over_octets<kOctets>(octets, [&](int i, int octet) {
    float* const x = all_x + start + octet * 8;
    load_octet(x, values[i]);
    if (all_residual != nullptr) {
      float more[8];
      load_octet(all_residual + start + octet * 8, more);
#pragma unroll
      for (int j = 0; j < 8; j++) values[i][j] += more[j];
      store_octet_floats(x, values[i]);
    }
#pragma unroll
    for (int j = 0; j < 8; j++) squares += static_cast<double>(values[i][j]) * values[i][j];
  });
  const float inverse = inverse_root(block_reduce(squares, partial, Sum()), form.cols, epsilon);
  float most = 0;
  over_octets<kOctets>(octets, [&](int i, int) {
#pragma unroll
    for (int j = 0; j < 8; j++) {
      values[i][j] = values[i][j] * inverse * factors[i][j];
      most = fmaxf(most, fabsf(values[i][j]));
    }
  });
  store_prepared<Form, kOctets>(form, blockIdx.x, values, most, largest, to);
}

constexpr int kMostOctets = 2;

}  // namespace

void rms_norm(float* x, const float* residual, const float* weight, int64_t count, int64_t width, int64_t norm_width,
              float epsilon, float* out, Stream stream) {
  const auto runs = static_cast<unsigned>(count * (width / norm_width));
  launch("rms_norm", rms_norm_kernel, runs, row_threads(norm_width), 0, stream, x, residual, weight, static_cast<int>(norm_width),
         epsilon, out);
}

void rms_norm_prepared(float* x, const float* residual, const float* weight, int64_t count, float epsilon, const PreparedForm& form,
                       const Prepared& to, Stream stream) {
  linear::with_form(form, [&](auto tag) {
    const int octets = form.cols / 8;
    if (has_whole_octets(form) && octets <= kMostOctets * 1024) {
      const auto kernel = octets <= 1024 ? rms_norm_octets_kernel<decltype(tag), 1> : rms_norm_octets_kernel<decltype(tag), kMostOctets>;
      const auto threads = static_cast<unsigned>(std::min(1024, (octets + 31) / 32 * 32));
      return launch("rms_norm", kernel, static_cast<unsigned>(count), threads, 0, stream, x, residual, weight, epsilon, form, to);
    }
    const auto kernel = rms_norm_prepared_kernel<decltype(tag)>;
    const size_t shared = static_cast<size_t>(form.cols) * sizeof(float);
    allow_shared(kernel, shared);
    launch("rms_norm", kernel, static_cast<unsigned>(count), row_threads(form.cols), shared, stream, x, residual, weight, form.cols,
           epsilon, form, to);
  });
}

}  // namespace kvant::cuda
