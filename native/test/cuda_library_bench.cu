// Products for many tokens over the shapes of llama3-8b, through cuBLASLt and by our own kernels:
//   accuracy  largest error over the sum of magnitudes, against double precision, at K = 4096, 14336 and 131072
//   speed     microseconds and TFLOP/s per shape and number of tokens; what they add up to for the whole model
// With the argument "library" without our own kernels. Random weights and activations; medians of graph replays over copies of the matrix. Products alone: activations lie prepared.
#include <cuda_bf16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cuda_timing.cuh"
#include "kvant/cuda/linear.h"

namespace {

using kvant::Format;
using kvant::MatrixSpec;
using kvant_test::seconds;
using kvant_test::succeed;
using kvant::cuda::CudaMatrix;
using kvant::cuda::Result;

// Sum of three uniform numbers, within -3 .. 3.
__device__ float random_value(uint32_t index, uint32_t salt) {
  float sum = 0;
  for (uint32_t i = 1; i <= 3; i++) {
    uint32_t h = (index + i * 0x9e3779b9u + salt * 0x7f4a7c15u) * 0x85ebca6bu;
    h ^= h >> 15, h *= 0xc2b2ae35u, h ^= h >> 13;
    sum += static_cast<float>(h >> 8) / 8388608.0f - 1.0f;
  }
  return sum;
}

// Numbers that the format holds exactly under the scale 2^-9 that the first of each row brings about. All rows of one sign where
// `positive`, so that sums grow with their length.
__global__ void fill_exact(float* to, size_t count, int cols, Format format, uint32_t salt, bool positive) {
  for (size_t i = blockIdx.x * size_t{256} + threadIdx.x; i < count; i += size_t{gridDim.x} * 256) {
    const float largest = format == Format::e4m3 ? 448.0f : 127.0f;
    float value = random_value(static_cast<uint32_t>(i), salt) / 3 * largest;
    if (positive) value = fabsf(value);
    if (i % static_cast<size_t>(cols) == 0) value = largest;
    if (format == Format::e4m3) value = __half2float(__half(__nv_cvt_fp8_to_halfraw(__nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3), __NV_E4M3)));
    if (format == Format::int8) value = rintf(value);
    to[i] = format == Format::bf16 ? __bfloat162float(__float2bfloat16(value)) : value / 512;
  }
}
__global__ void fill_bf16(__nv_bfloat16* to, size_t count) {
  for (size_t i = blockIdx.x * size_t{256} + threadIdx.x; i < count; i += size_t{gridDim.x} * 256) to[i] = __float2bfloat16(random_value(static_cast<uint32_t>(i), 1) * 0.02f);
}
__global__ void fill_fp32(float* to, size_t count) {
  for (size_t i = blockIdx.x * size_t{256} + threadIdx.x; i < count; i += size_t{gridDim.x} * 256) to[i] = random_value(static_cast<uint32_t>(i), 2);
}

// One block per output: the sum and the sum of magnitudes.
__global__ void reference(const float* w, const float* x, int rows, int cols, double* y, double* magnitude) {
  __shared__ double sums[128], magnitudes[128];
  const size_t row = blockIdx.x, token = blockIdx.y;
  double sum = 0, total = 0;
  for (int k = threadIdx.x; k < cols; k += 128) {
    const double term = static_cast<double>(w[row * cols + k]) * x[token * cols + k];
    sum += term, total += fabs(term);
  }
  sums[threadIdx.x] = sum, magnitudes[threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < 128; i++) sum += sums[i], total += magnitudes[i];
  y[token * rows + row] = sum, magnitude[token * rows + row] = total;
}

template <class T>
std::vector<T> download(const T* from, size_t count) {
  std::vector<T> out(count);
  succeed(cudaMemcpy(out.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost), "download");
  return out;
}

template <class T>
T* allocate(size_t count) {
  void* memory = nullptr;
  succeed(cudaMalloc(&memory, count * sizeof(T)), "allocation");
  return static_cast<T*>(memory);
}

struct Scheme {
  const char* name;
  Format weights;
  int group;
  Format activation;
  float static_scale = 0;
};

std::string variant_kernel(const CudaMatrix& matrix, int tokens) {
  const std::string name = matrix.variant(tokens);
  return name.substr(name.rfind('-') + 1);
}

void print_accuracy(cudaStream_t stream, void* workspace) {
  constexpr int kRows = 256, kTokens = 128, kMostCols = 131072;
  float *const w = allocate<float>(size_t{kRows} * kMostCols), *const x = allocate<float>(size_t{kTokens} * kMostCols), *const y = allocate<float>(kRows * kTokens);
  double *const expected = allocate<double>(kRows * kTokens), *const magnitude = allocate<double>(kRows * kTokens);
  const Scheme schemes[] = {{"e4m3-channel x e4m3", Format::e4m3, -1, Format::e4m3},
                            {"int8-channel x int8", Format::int8, -1, Format::int8},
                            {"bf16 x bf16", Format::bf16, 0, Format::bf16},
                            {"e4m3-channel x bf16", Format::e4m3, -1, Format::bf16}};
  for (const Scheme& scheme : schemes) {
    for (bool positive : {false, true}) {
      for (int cols : {4096, 14336, kMostCols}) {
        fill_exact<<<1024, 256, 0, stream>>>(w, size_t{kRows} * cols, cols, scheme.weights, 3, positive);
        fill_exact<<<1024, 256, 0, stream>>>(x, size_t{kTokens} * cols, cols, scheme.activation, 4, positive);
        reference<<<dim3(kRows, kTokens), 128, 0, stream>>>(w, x, kRows, cols, expected, magnitude);
        std::printf("accuracy %-20s %s, K %6d:", scheme.name, positive ? "one sign " : "two signs", cols);
        for (int mode = 0; mode < 3; mode++) {
          const auto matrix = kvant::cuda::make_cuda_matrix({kRows, cols, scheme.weights, scheme.group, scheme.activation, 0},
                                                            {.deterministic = mode == 2, .library = mode == 0});
          matrix->load_rows(0, kRows, Format::fp32, w, stream);
          matrix->run(x, kTokens, nullptr, {y}, workspace, stream);
          succeed(cudaStreamSynchronize(stream), "accuracy");
          const auto actual = download(y, kRows * kTokens);
          const auto right = download(expected, kRows * kTokens), total = download(magnitude, kRows * kTokens);
          double worst = 0, squares = 0, norm = 0;
          for (size_t i = 0; i < actual.size(); i++) {
            const double error = actual[i] - right[i];
            worst = std::max(worst, std::fabs(error) / total[i]);
            squares += error * error, norm += right[i] * right[i];
          }
          std::printf("  %s %.1e of the magnitudes, rms %.1e", variant_kernel(*matrix, kTokens).c_str(), worst, std::sqrt(squares / norm));
        }
        std::printf("\n");
      }
    }
  }
  for (void* memory : {static_cast<void*>(w), static_cast<void*>(x), static_cast<void*>(y), static_cast<void*>(expected), static_cast<void*>(magnitude)}) cudaFree(memory);
}

void print_speed(cudaStream_t stream, const cudaDeviceProp& device, void* workspace, size_t workspace_bytes, bool own) {
  constexpr int kMostTokens = 8192;
  const int shapes[][2] = {{6144, 4096}, {4096, 4096}, {28672, 4096}, {4096, 14336}};
  __nv_bfloat16* const source = allocate<__nv_bfloat16>(size_t{28672} * 4096);
  float *const x = allocate<float>(size_t{kMostTokens} * 14336), *const y = allocate<float>(size_t{kMostTokens} * 28672), *const bias = allocate<float>(28672);
  float* const rows = allocate<float>(size_t{kMostTokens} * 28672);
  fill_bf16<<<1024, 256, 0, stream>>>(source, size_t{28672} * 4096);
  fill_fp32<<<1024, 256, 0, stream>>>(x, size_t{kMostTokens} * 14336);
  fill_fp32<<<1024, 256, 0, stream>>>(rows, size_t{kMostTokens} * 28672);
  fill_fp32<<<16, 256, 0, stream>>>(bias, 28672);
  const Scheme schemes[] = {{"bf16 x bf16", Format::bf16, 0, Format::bf16},
                            {"e4m3-channel x e4m3", Format::e4m3, -1, Format::e4m3},
                            {"e4m3-tensor x static e4m3", Format::e4m3, -2, Format::e4m3, 0.01f},
                            {"int8-channel x int8", Format::int8, -1, Format::int8},
                            {"int8-channel x static int8", Format::int8, -1, Format::int8, 0.02f},
                            {"e4m3-channel x bf16", Format::e4m3, -1, Format::bf16},
                            {"int8-channel x bf16", Format::int8, -1, Format::bf16},
                            {"int4-g128 x bf16", Format::int4, 128, Format::bf16},
                            {"int4-g128 x int8", Format::int4, 128, Format::int8}};
  const int counts[] = {16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, kMostTokens};
  for (const Scheme& scheme : schemes) {
    double model[std::size(counts)] = {}, prepared[std::size(counts)] = {};
    for (const auto& shape : shapes) {
      const MatrixSpec spec{shape[0], shape[1], scheme.weights, scheme.group, scheme.activation, scheme.static_scale};
      std::vector<std::unique_ptr<CudaMatrix>> copies;
      do {
        copies.push_back(kvant::cuda::make_cuda_matrix(spec, {.library = !own}));
        copies.back()->load_rows(0, spec.rows, Format::bf16, source, stream);
      } while (copies.size() * copies.front()->bytes() < 3 * static_cast<size_t>(device.l2CacheSize) || copies.size() < 2);
      std::printf("%-26s %5dx%-5d", scheme.name, shape[0], shape[1]);
      for (size_t i = 0; i < std::size(counts); i++) {
        const int tokens = counts[i];
        if (own && tokens > 2048) continue;
        if (copies.front()->workspace_bytes(tokens) > workspace_bytes) succeed(cudaErrorInvalidValue, "workspace");
        copies.front()->prepare(x, tokens, workspace, stream);
        const size_t used = tokens >= 2048 ? 2 : copies.size();
        const double time = seconds(stream, [&] {
          for (size_t k = 0; k < used; k++) copies[k]->multiply(tokens, nullptr, {y}, workspace, stream);
        }) / static_cast<double>(used);
        model[i] += 32 * time;
        prepared[i] += 32 * seconds(stream, [&] { copies.front()->prepare(x, tokens, workspace, stream); });
        // What bf16 and rows that are added to save or cost.
        const auto other = [&](Result result) {
          if (!copies.front()->gives(result, tokens, false)) return 0.0;
          return seconds(stream, [&] {
            for (size_t k = 0; k < used; k++) copies[k]->multiply(tokens, nullptr, {y, result, rows}, workspace, stream);
          }) / static_cast<double>(used);
        };
        const double operations = 2.0 * tokens * shape[0] * shape[1];
        std::printf(" | %s%d: %.1f us %.0f T", variant_kernel(*copies.front(), tokens) == "cublaslt" ? "*" : "", tokens, time * 1e6, operations / time / 1e12);
        if (tokens < kvant::cuda::kManyTokens) continue;
        std::printf(", as bf16 %.1f us, added %.1f us", other(Result::bf16) * 1e6, other(Result::added) * 1e6);
      }
      std::printf("\n");
      std::fflush(stdout);
    }
    std::printf("%-26s 32 layers  ", scheme.name);
    for (size_t i = 0; i < std::size(counts); i++) {
      if (model[i] > 0) std::printf(" | %d: %.2f ms, %.0f tok/s (preparing alone: %.2f ms)", counts[i], model[i] * 1e3, counts[i] / model[i], prepared[i] * 1e3);
    }
    std::printf("\n");
  }
  for (void* memory : {static_cast<void*>(source), static_cast<void*>(x), static_cast<void*>(y), static_cast<void*>(bias)}) cudaFree(memory);
  cudaFree(rows);
}

}  // namespace

int main(int count, char** arguments) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::printf("SKIPPED cuda_library_bench: no CUDA device\n");
    return 0;
  }
  cudaDeviceProp device;
  succeed(cudaGetDeviceProperties(&device, 0), "device");
  cudaStream_t stream;
  succeed(cudaStreamCreate(&stream), "stream");
  constexpr size_t kWorkspace = size_t{512} << 20;
  void* const workspace = allocate<uint8_t>(kWorkspace);
  const std::string& absence = kvant::cuda::cublaslt_absence();
  std::printf("%s, cuBLASLt %s%s\n", device.name, absence.empty() ? "is there" : "is absent: ", absence.c_str());
  print_accuracy(stream, workspace);
  std::printf("numbers of tokens with * went through cuBLASLt\n");
  print_speed(stream, device, workspace, kWorkspace, false);
  if (count > 1 && std::string(arguments[1]) == "library") return 0;
  std::printf("our own kernels\n");
  print_speed(stream, device, workspace, kWorkspace, true);
  return 0;
}
