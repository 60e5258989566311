// What a device can do at most, measured: the yardsticks that benchmarks stand beside.
//   read:   every 16-byte vector of a buffer once, streaming, four loads in flight per thread: bytes / second
//   matmul: D += A * B again and again with D in registers; nothing is loaded from device memory: 2 * multiply-adds / second
// On compute capability 9.0 tensor-core rates are of wgmma, A [64, 32 bytes] and B [128, 32 bytes] in shared memory, two
// warpgroups per block and two blocks per multiprocessor; elsewhere of mma.sync on registers. Operands are random: zeros switch
// so few transistors that the clock stays higher than any product can keep it.
#include <cuda_runtime.h>

#include <cstdint>
#include <map>

#include "cuda/check.h"
#include "cuda/device.h"
#include "cuda/device_memory.h"
#include "cuda/warpgroup_steps.cuh"
#include "kvant/cuda.h"
#include "plan/check_value.h"

namespace kvant {
namespace cuda {
namespace {

constexpr int kReadThreads = 512, kReadBlocksPerProcessor = 4;
constexpr int kMultiplyThreads = 256, kMultiplyBlocksPerProcessor = 2;
constexpr int kSteps = 8192;  // a few milliseconds

__device__ __forceinline__ uint32_t scrambled(uint32_t h) {
  h *= 0x85ebca6bu, h ^= h >> 15, h *= 0xc2b2ae35u, h ^= h >> 13;
  return h * 0x27d4eb2fu;
}

__global__ void fill_kernel(uint32_t* words, size_t count) {
  const size_t stride = size_t{gridDim.x} * blockDim.x;
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count; i += stride) words[i] = scrambled(static_cast<uint32_t>(i));
}

// vectors: [count]; `out` is written only by a sum that random words do not give.
__global__ void __launch_bounds__(kReadThreads) read_kernel(const uint4* vectors, size_t count, uint32_t* out) {
  const size_t stride = size_t{gridDim.x} * blockDim.x;
  uint32_t sum = 0;
  size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x;
  for (; i + 3 * stride < count; i += 4 * stride) {
    const uint4 a = __ldcs(vectors + i), b = __ldcs(vectors + i + stride), c = __ldcs(vectors + i + 2 * stride), d = __ldcs(vectors + i + 3 * stride);
    sum += (a.x ^ a.y ^ a.z ^ a.w) + (b.x ^ b.y ^ b.z ^ b.w) + (c.x ^ c.y ^ c.z ^ c.w) + (d.x ^ d.y ^ d.z ^ d.w);
  }
  for (; i < count; i += stride) {
    const uint4 a = __ldcs(vectors + i);
    sum += a.x ^ a.y ^ a.z ^ a.w;
  }
  if (sum == 0x9e3779b9u) *out = sum;
}

enum class Kind { fp16, bf16, int8, e4m3 };

// A random word of operands of about 1/4 (all bits of int8), so that sums stay finite.
template <Kind K>
__device__ __forceinline__ uint32_t operand_word(uint32_t index) {
  const uint32_t h = scrambled(index + 1);
  if constexpr (K == Kind::fp16) return (h & 0x83ff83ffu) | 0x34003400u;
  if constexpr (K == Kind::bf16) return (h & 0x807f807fu) | 0x3e803e80u;
  if constexpr (K == Kind::e4m3) return (h & 0x87878787u) | 0x28282828u;
  return h;
}

template <Kind K>
using Sum = std::conditional_t<K == Kind::int8, int, float>;

#ifdef KVANT_WARPGROUP
// Bytes of one step's operands: A, then B, as core matrices of 8 rows x 16 bytes.
constexpr int kOperandA = 64 * 32, kOperandB = 128 * 32;

// Core matrices one after the other: 128 bytes to the next along k, 256 to the next 8 rows. No swizzle.
__device__ __forceinline__ uint64_t operand_descriptor(const void* shared) {
  const auto address = static_cast<uint64_t>(__cvta_generic_to_shared(shared));
  return ((address & 0x3ffff) >> 4) | (uint64_t{128 >> 4} << 16) | (uint64_t{256 >> 4} << 32);
}

template <Kind K>
__device__ __forceinline__ void step(Sum<K> (&d)[64], uint64_t a, uint64_t b) {
  if constexpr (K == Kind::fp16) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {" KVANT_NAMES_64 "}, %64, %65, 1, 1, 1, 0, 0;"
                 : KVANT_SUMS_64("f", d)
                 : "l"(a), "l"(b));
  } else if constexpr (K == Kind::bf16) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" KVANT_NAMES_64 "}, %64, %65, 1, 1, 1, 0, 0;"
                 : KVANT_SUMS_64("f", d)
                 : "l"(a), "l"(b));
  } else if constexpr (K == Kind::e4m3) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {" KVANT_NAMES_64 "}, %64, %65, 1, 1, 1;"
                 : KVANT_SUMS_64("f", d)
                 : "l"(a), "l"(b));
  } else {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 {" KVANT_NAMES_64 "}, %64, %65, 1;"
                 : KVANT_SUMS_64("r", d)
                 : "l"(a), "l"(b));
  }
}
#else
// Eight independent m16n8 products per warp hide the latency of one.
constexpr int kChains = 8;

template <Kind K>
__device__ __forceinline__ void step(Sum<K> (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  if constexpr (K == Kind::int8) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else if constexpr (K == Kind::bf16) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}
#endif

// counts: [1] multiply-adds of one block, so that the host need not know which instruction ran.
template <Kind K>
__global__ void __launch_bounds__(kMultiplyThreads, kMultiplyBlocksPerProcessor) multiply_kernel(uint32_t* out, unsigned long long* counts) {
#ifdef KVANT_WARPGROUP
  __shared__ alignas(128) uint32_t operands[(kOperandA + kOperandB) / 4];
  for (uint32_t i = threadIdx.x; i < sizeof(operands) / 4; i += kMultiplyThreads) operands[i] = operand_word<K>(i);
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
  const uint64_t a = operand_descriptor(operands), b = operand_descriptor(operands + kOperandA / 4);
  Sum<K> d[64] = {};
  warpgroup_begin();
  for (int i = 0; i < kSteps; i++) {
    step<K>(d, a, b);
    if (i % 8 == 7) {
      warpgroup_commit();
      warpgroup_wait<1>();
    }
  }
  warpgroup_wait<0>();
  constexpr int k = K == Kind::fp16 || K == Kind::bf16 ? 16 : 32;
  constexpr unsigned long long multiplies = 2ull * kSteps * 64 * 128 * k;
  Sum<K> sum = 0;
  for (Sum<K> each : d) sum += each;
#else
  uint32_t a[4], b[2];
  for (uint32_t i = 0; i < 4; i++) a[i] = operand_word<K>(threadIdx.x * 6 + i);
  for (uint32_t i = 0; i < 2; i++) b[i] = operand_word<K>(threadIdx.x * 6 + 4 + i);
  Sum<K> d[kChains][4] = {};
  for (int i = 0; i < kSteps; i++) {
#pragma unroll
    for (auto& chain : d) step<K>(chain, a, b[0], b[1]);
  }
  constexpr int k = K == Kind::int8 ? 32 : 16;
  constexpr unsigned long long multiplies = 1ull * kSteps * kChains * (kMultiplyThreads / 32) * 16 * 8 * k;
  Sum<K> sum = 0;
  for (auto& chain : d) sum += chain[0] + chain[1] + chain[2] + chain[3];
#endif
  if (sum == static_cast<Sum<K>>(1.25f)) *out = 1;
  if (blockIdx.x == 0 && threadIdx.x == 0) *counts = multiplies;
}

// Sixteen independent chains of fused multiply-adds per thread.
__global__ void __launch_bounds__(kMultiplyThreads) multiply_fp32_kernel(uint32_t* out, unsigned long long* counts) {
  constexpr int kFloatChains = 16;
  const float x = 0.999f + 1e-6f * static_cast<float>(threadIdx.x);
  float d[kFloatChains];
  for (int i = 0; i < kFloatChains; i++) d[i] = static_cast<float>(i + threadIdx.x) * 0.01f;
  for (int i = 0; i < kSteps; i++) {
#pragma unroll
    for (float& chain : d) chain = fmaf(chain, x, 0.001f);
  }
  float sum = 0;
  for (float chain : d) sum += chain;
  if (sum == 1.25f) *out = 1;
  if (blockIdx.x == 0 && threadIdx.x == 0) *counts = 1ull * kSteps * kFloatChains * kMultiplyThreads;
}

// Four independent products per warp on the float64 tensor cores of 8.0 and newer; 9.0 has one instruction for a larger step.
__global__ void __launch_bounds__(kMultiplyThreads) multiply_fp64_kernel(uint32_t* out, unsigned long long* counts) {
  constexpr int kDoubleChains = 4;
  const auto operand = [](uint32_t index) { return static_cast<double>(scrambled(index + 1)) * 0x1p-33 - 0.25; };
  double sum = 0;
#ifdef KVANT_WARPGROUP
  constexpr int kA = 8, kB = 4, kD = 4, kProduct = 16 * 8 * 16;
#else
  constexpr int kA = 1, kB = 1, kD = 2, kProduct = 8 * 8 * 4;
#endif
  double a[kA], b[kB], d[kDoubleChains][kD] = {};
  for (uint32_t i = 0; i < kA; i++) a[i] = operand(threadIdx.x * (kA + kB) + i);
  for (uint32_t i = 0; i < kB; i++) b[i] = operand(threadIdx.x * (kA + kB) + kA + i);
  for (int i = 0; i < kSteps; i++) {
#pragma unroll
    for (auto& c : d) {
#ifdef KVANT_WARPGROUP
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f64.f64.f64.f64 {%0,%1,%2,%3}, {%4,%5,%6,%7,%8,%9,%10,%11}, {%12,%13,%14,%15}, {%0,%1,%2,%3};"
          : "+d"(c[0]), "+d"(c[1]), "+d"(c[2]), "+d"(c[3])
          : "d"(a[0]), "d"(a[1]), "d"(a[2]), "d"(a[3]), "d"(a[4]), "d"(a[5]), "d"(a[6]), "d"(a[7]), "d"(b[0]), "d"(b[1]), "d"(b[2]), "d"(b[3]));
#else
      asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};" : "+d"(c[0]), "+d"(c[1]) : "d"(a[0]), "d"(b[0]));
#endif
    }
  }
  for (const auto& c : d) {
    for (double each : c) sum += each;
  }
  if (sum == 1.25) *out = 1;
  if (blockIdx.x == 0 && threadIdx.x == 0) *counts = 1ull * kSteps * kDoubleChains * (kMultiplyThreads / 32) * kProduct;
}

using MultiplyKernel = void (*)(uint32_t*, unsigned long long*);

MultiplyKernel multiply_kernel_of(const std::string& kind) {
  static const std::map<std::string, MultiplyKernel> kernels = {{"fp64", multiply_fp64_kernel},
                                                                {"fp32", multiply_fp32_kernel},
                                                                {"fp16", multiply_kernel<Kind::fp16>},
                                                                {"bf16", multiply_kernel<Kind::bf16>},
                                                                {"int8", multiply_kernel<Kind::int8>},
                                                                {"e4m3", multiply_kernel<Kind::e4m3>}};
  const auto found = kernels.find(kind);
  if (found == kernels.end()) throw invalid("no multipliers are called \"" + kind + "\"; there are fp64, fp32, fp16, bf16, int8, e4m3");
  return found->second;
}

// Seconds of each of `repeats` launches after one that is not timed.
template <typename Launch>
std::vector<double> launch_seconds(int64_t repeats, Launch launch) {
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin), "creating an event");
  check(cudaEventCreate(&end), "creating an event");
  launch();
  check_launch("probe");
  std::vector<double> seconds;
  for (int64_t i = 0; i < repeats; i++) {
    check(cudaEventRecord(begin), "recording an event");
    launch();
    check(cudaEventRecord(end), "recording an event");
    check(cudaEventSynchronize(end), "probing the device");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin, end), "reading the clock");
    seconds.push_back(milliseconds / 1e3);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return seconds;
}

// Selects the device and returns how many multiprocessors it has.
int enter_device(const std::string& device) {
  const int index = device_index(device);
  int count = 0;
  check(cudaSetDevice(index), "selecting the device");
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, index), "counting multiprocessors");
  return count;
}

}  // namespace
}  // namespace cuda

std::vector<double> probe_device_read(const std::string& device, size_t bytes, int64_t repeats) {
  const int blocks = cuda::enter_device(device) * cuda::kReadBlocksPerProcessor;
  check_range("probe size", static_cast<int64_t>(bytes), int64_t{1} << 20, int64_t{1} << 40);
  check_range("probe repeats", repeats, 1, 1000);
  const size_t count = bytes / 16;
  const cuda::DeviceMemory memory(count * 16, "the read probe"), word(4, "the read probe");
  cuda::fill_kernel<<<blocks, cuda::kReadThreads>>>(memory.as<uint32_t>(), count * 4);
  auto rates = cuda::launch_seconds(repeats, [&] {
    cuda::read_kernel<<<blocks, cuda::kReadThreads>>>(memory.as<uint4>(), count, word.as<uint32_t>());
  });
  for (double& rate : rates) rate = static_cast<double>(count * 16) / rate;
  return rates;
}

std::vector<double> probe_device_matmul(const std::string& device, const std::string& kind, int64_t repeats) {
  const int blocks = cuda::enter_device(device) * cuda::kMultiplyBlocksPerProcessor;
  check_range("probe repeats", repeats, 1, 1000);
  const cuda::MultiplyKernel kernel = cuda::multiply_kernel_of(kind);
  const cuda::DeviceMemory counts(8, "the multiplier probe"), word(4, "the multiplier probe");
  auto rates = cuda::launch_seconds(repeats, [&] {
    kernel<<<blocks, cuda::kMultiplyThreads>>>(word.as<uint32_t>(), counts.as<unsigned long long>());
  });
  unsigned long long multiplies = 0;
  cuda::check(cudaMemcpy(&multiplies, counts.data(), sizeof(multiplies), cudaMemcpyDeviceToHost), "reading the probe's count");
  for (double& rate : rates) rate = 2.0 * static_cast<double>(multiplies) * blocks / rate;
  return rates;
}

}  // namespace kvant
