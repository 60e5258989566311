#pragma once
// What the CUDA benchmarks time with, and the bandwidth that they compare with.
#include <algorithm>
#include <functional>
#include <vector>

#include "cuda_check.h"

namespace kvant_test {

// Reads [count] vectors and writes nothing.
static __global__ void read_probe(const uint4* from, size_t count, uint32_t* out) {
  uint32_t sum = 0;
  const size_t stride = size_t{gridDim.x} * blockDim.x;
  size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x;
  for (; i + 3 * stride < count; i += 4 * stride) {
    const uint4 a = __ldcs(from + i), b = __ldcs(from + i + stride), c = __ldcs(from + i + 2 * stride), d = __ldcs(from + i + 3 * stride);
    sum ^= a.x ^ a.y ^ a.z ^ a.w ^ b.x ^ b.y ^ b.z ^ b.w ^ c.x ^ c.y ^ c.z ^ c.w ^ d.x ^ d.y ^ d.z ^ d.w;
  }
  if (sum == 0x12345678u) *out = sum;
}

// Median seconds of a graph replay of `body`.
inline double seconds(cudaStream_t stream, const std::function<void()>& body) {
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  body();
  succeed(cudaStreamSynchronize(stream), "warm-up");
  succeed(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
  body();
  succeed(cudaStreamEndCapture(stream, &graph), "capture");
  succeed(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
  cudaEvent_t begin, end;
  cudaEventCreate(&begin), cudaEventCreate(&end);
  std::vector<double> times;
  for (int i = 0; i < 8; i++) {
    cudaEventRecord(begin, stream);
    succeed(cudaGraphLaunch(exec, stream), "launch");
    cudaEventRecord(end, stream);
    succeed(cudaEventSynchronize(end), "replay");
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, begin, end);
    if (i > 0) times.push_back(milliseconds / 1e3);
  }
  cudaEventDestroy(begin), cudaEventDestroy(end), cudaGraphExecDestroy(exec), cudaGraphDestroy(graph);
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

}  // namespace kvant_test
