// Linear products over the shapes of llama3-8b, each after the kernel that prepares its input, as in a model: GB/s of weight
// codes and scales for few tokens, TFLOP/s for many, and the percent of what a probe reaches in the same run: streaming
// reads, and tensor-core steps (mma.sync) on registers. First whole layers in their order, then each matrix by itself.
//   cuda_linear_bench [layers|shapes|both] [part of a scheme's name] [deterministic|own|all] [tokens]    own: without cuBLASLt
// `tokens`: layers with so many alone.
// Random weights and activations; enough copies of each matrix that they do not stay in the second-level cache. Times are
// medians of graph replays.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cuda/linear/tensor_core.cuh"
#include "cuda_timing.cuh"
#include "kvant/cuda/linear.h"

namespace {

using kvant::Format;
using kvant::MatrixSpec;
using kvant_test::read_probe;
using kvant_test::seconds;
using kvant_test::succeed;

// Sum of three uniform numbers: bell-shaped, never all equal.
__device__ float random_value(uint32_t index) {
  float sum = 0;
  for (uint32_t i = 1; i <= 3; i++) {
    uint32_t h = (index + i * 0x9e3779b9u) * 0x85ebca6bu;
    h ^= h >> 15, h *= 0xc2b2ae35u, h ^= h >> 13;
    sum += static_cast<float>(h >> 8) / 8388608.0f - 1.0f;
  }
  return sum;
}
__global__ void fill_bf16(__nv_bfloat16* to, size_t count) {
  for (size_t i = blockIdx.x * size_t{256} + threadIdx.x; i < count; i += size_t{gridDim.x} * 256) to[i] = __float2bfloat16(random_value(i) * 0.02f);
}
__global__ void fill_fp32(float* to, size_t count) {
  for (size_t i = blockIdx.x * size_t{256} + threadIdx.x; i < count; i += size_t{gridDim.x} * 256) to[i] = random_value(i);
}

constexpr int kProbeSteps = 2048, kProbeChains = 8;
template <bool kInt8>
__global__ void tensor_probe(uint32_t* out) {
  const uint32_t a[4] = {threadIdx.x * 77u + 0x3c003c01u, 0x3a103c00u, 0x3b003c07u, 0x38003c00u};
  std::conditional_t<kInt8, int, float> d[kProbeChains][4] = {};
  for (int i = 0; i < kProbeSteps; i++) {
#pragma unroll
    for (int chain = 0; chain < kProbeChains; chain++) {
      if constexpr (kInt8) kvant::cuda::linear::step_int8(d[chain], a, 0x01020304u, 0x31020304u);
      else kvant::cuda::linear::step_fp16(d[chain], a, 0x2c002c01u, 0x2b002c01u);
    }
  }
  float sum = 0;
  for (auto& chain : d) sum += static_cast<float>(chain[0] + chain[1] + chain[2] + chain[3]);
  if (sum == 1.25f) *out = 1;
}

struct Scheme {
  const char* name;
  Format weights;
  int group;
  Format activation;
  kvant::Scales scales = kvant::Scales::fp32;
  float static_scale = 0;
};

const Scheme kSchemes[] = {{"bf16 x bf16", Format::bf16, 0, Format::bf16},
                           {"int8-channel x int8", Format::int8, -1, Format::int8},
                           {"e4m3-channel x bf16", Format::e4m3, -1, Format::bf16},
                           {"e4m3-channel x e4m3", Format::e4m3, -1, Format::e4m3},
                           {"int4-g128 x int8", Format::int4, 128, Format::int8},
                           {"int4-g128 x bf16", Format::int4, 128, Format::bf16},
                           {"int4-g128-affine x int8", Format::int4, 128, Format::int8, kvant::Scales::affine},
                           {"int8-g128-affine x int8", Format::int8, 128, Format::int8, kvant::Scales::affine},
                           {"mxfp4 x bf16", Format::e2m1, 32, Format::bf16, kvant::Scales::e8m0},
                           {"nvfp4 x bf16", Format::e2m1, 16, Format::bf16, kvant::Scales::e4m3},
                           {"int8-channel x int8 static", Format::int8, -1, Format::int8, kvant::Scales::fp32, 0.01f},
                           {"e4m3-channel x e4m3 static", Format::e4m3, -1, Format::e4m3, kvant::Scales::fp32, 0.01f}};

struct Shape {
  int rows, cols;
};
constexpr Shape kLayer[] = {{6144, 4096}, {4096, 4096}, {28672, 4096}, {4096, 14336}};  // QKV, output, gate and up, down
constexpr Shape kHead = {128256, 4096};
constexpr size_t kMost = static_cast<size_t>(kHead.rows) * kHead.cols;
constexpr int kMaxTokens = 2048;
constexpr size_t kWorkspace = size_t{256} << 20;

using Matrices = std::vector<std::unique_ptr<kvant::cuda::CudaMatrix>>;

struct Bench {
  cudaStream_t stream;
  __nv_bfloat16* source;
  float *x, *y;
  void* workspace;
  double read, fp16_rate, int8_rate;  // probes, per second
  size_t cache;
  bool deterministic, library;
  std::vector<int> layer_tokens = {1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048};

  void add(Matrices& to, const Scheme& scheme, Shape shape) const {
    to.push_back(kvant::cuda::make_cuda_matrix({shape.rows, shape.cols, scheme.weights, scheme.group, scheme.activation, scheme.static_scale, scheme.scales},
                                                {.deterministic = deterministic, .library = library}));
    to.back()->load_rows(0, shape.rows, Format::bf16, source, stream);
  }

  double run(const Matrices& matrices, int tokens) const {
    return seconds(stream, [&] {
      for (const auto& matrix : matrices) {
        if (matrix->workspace_bytes(tokens) > kWorkspace) succeed(cudaErrorInvalidValue, "workspace");
        matrix->run(x, tokens, nullptr, {y}, workspace, stream);
      }
    });
  }

  void layers(const Scheme& scheme) const {
    Matrices matrices;
    double bytes = 0;
    while (bytes < 8.0 * static_cast<double>(cache)) {
      for (const Shape& shape : kLayer) {
        add(matrices, scheme, shape);
        bytes += static_cast<double>(matrices.back()->bytes());
      }
    }
    const size_t count = matrices.size() / std::size(kLayer);
    std::printf("%-26s layer ", scheme.name);
    for (int tokens : layer_tokens) {
      const double time = run(matrices, tokens);
      std::printf(" | %2d %.1f us (%.0f%%)", tokens, time / static_cast<double>(count) * 1e6, 100 * bytes / time / read);
    }
    std::printf("\n");
    std::fflush(stdout);
  }

  void shapes(const Scheme& scheme) const {
    for (const Shape& shape : {kLayer[0], kLayer[1], kLayer[2], kLayer[3], kHead}) {
      Matrices copies;
      do add(copies, scheme, shape);
      while (copies.size() * copies.front()->bytes() < 3 * cache || copies.size() < 2);
      std::printf("%-26s %6dx%-5d", scheme.name, shape.rows, shape.cols);
      for (int tokens : {1, 8, 16, 64, 2048}) {
        if (tokens == 2048 && shape.rows == kHead.rows) continue;
        const double time = run(copies, tokens) / static_cast<double>(copies.size());
        const double bytes = static_cast<double>(copies.front()->bytes());
        const double operations = 2.0 * tokens * shape.rows * shape.cols;
        const double rate = scheme.activation == Format::int8 ? int8_rate : fp16_rate;
        if (tokens < 2048) std::printf(" | %7.1f us %5.0f (%3.0f%%)", time * 1e6, bytes / time / 1e9, 100 * bytes / time / read);
        else std::printf(" | %8.1f us %4.0f T (%3.0f%%)", time * 1e6, operations / time / 1e12, 100 * operations / time / rate);
      }
      std::printf("\n");
      std::fflush(stdout);
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::printf("SKIPPED cuda_linear_bench: no CUDA device\n");
    return 0;
  }
  const std::string mode = argc > 1 ? argv[1] : "", only = argc > 2 ? argv[2] : "";
  cudaDeviceProp device;
  succeed(cudaGetDeviceProperties(&device, 0), "device");
  Bench bench{};
  bench.deterministic = argc > 3 && argv[3] == std::string("deterministic");
  bench.library = argc <= 3 || argv[3] != std::string("own");
  if (argc > 4) bench.layer_tokens = {std::atoi(argv[4])};
  bench.cache = static_cast<size_t>(device.l2CacheSize);
  uint32_t* word;
  succeed(cudaStreamCreate(&bench.stream), "stream");
  succeed(cudaMalloc(&bench.source, kMost * 2), "source");
  succeed(cudaMalloc(&bench.x, size_t{kMaxTokens} * 14336 * 4), "x");
  succeed(cudaMalloc(&bench.y, std::max(size_t{kMaxTokens} * 28672, static_cast<size_t>(64 * kHead.rows)) * 4), "y");
  succeed(cudaMalloc(&bench.workspace, kWorkspace), "workspace");
  succeed(cudaMalloc(&word, 4), "word");
  fill_bf16<<<4096, 256>>>(bench.source, kMost);
  fill_fp32<<<4096, 256>>>(bench.x, size_t{kMaxTokens} * 14336);
  succeed(cudaDeviceSynchronize(), "fill");

  bench.read = static_cast<double>(kMost) * 2 / seconds(bench.stream, [&] {
    read_probe<<<device.multiProcessorCount * 8, 512, 0, bench.stream>>>(reinterpret_cast<const uint4*>(bench.source), kMost / 8, word);
  });
  const double probe_warps = device.multiProcessorCount * 8.0;
  bench.fp16_rate = probe_warps * kProbeSteps * kProbeChains * 2 * 16 * 8 * 16 /
      seconds(bench.stream, [&] { tensor_probe<false><<<device.multiProcessorCount, 256, 0, bench.stream>>>(word); });
  bench.int8_rate = probe_warps * kProbeSteps * kProbeChains * 2 * 16 * 8 * 32 /
      seconds(bench.stream, [&] { tensor_probe<true><<<device.multiProcessorCount, 256, 0, bench.stream>>>(word); });
  std::printf("%s: read probe %.0f GB/s, mma.sync probe fp16 %.0f TFLOP/s, int8 %.0f TOP/s\n", device.name, bench.read / 1e9,
              bench.fp16_rate / 1e12, bench.int8_rate / 1e12);
  if (mode != "shapes") {
    std::printf("tokens, microseconds of a layer's four products and preparations, weights read as %% of the read probe\n");
    for (const Scheme& scheme : kSchemes) {
      if (std::strstr(scheme.name, only.c_str()) != nullptr) bench.layers(scheme);
    }
  }
  if (mode != "layers") {
    std::printf("microseconds, GB/s of weights (%% of read probe) at 1, 8, 16, 64 tokens; TFLOP/s (%% of mma.sync probe) at 2048\n");
    for (const Scheme& scheme : kSchemes) {
      if (std::strstr(scheme.name, only.c_str()) != nullptr) bench.shapes(scheme);
    }
  }
  return 0;
}
