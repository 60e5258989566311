#pragma once
// Programmatic dependent launch: a kernel may start while the one before it in the stream still runs, and do what needs none
// of its results: set up, and fetch weights. So launch latency and the ramp of a kernel hide behind its predecessor.
//
// Every kernel that `launch` starts calls wait_for_inputs() in every thread before it returns, before it reads anything that
// an earlier kernel wrote and before it writes anything that one may still read. Then the predecessor has ended, and so, by
// the same rule, have all before it. Kernels started with <<<>>> are ordered as ever.
#include <cuda_runtime_api.h>

#include <utility>

#include "cuda/check.h"
#include "kvant/cuda/stream.h"

namespace kvant::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900 && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#error "There is code for sm_90a and portable code for compute capability 8.0; launches_overlap() tells the two apart"
#endif

#ifdef __CUDACC__
// The results of all earlier kernels are there after this.
__device__ __forceinline__ void wait_for_inputs() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// The next kernel may start as soon as every block has come here (or ended). Best called first of all: the next kernel waits for
// the end of this one by itself, and a small kernel between two large ones then keeps neither from starting early.
__device__ __forceinline__ void let_next_start() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
#endif

// Whether the code that runs on the current device knows the two instructions: not where it was compiled from PTX for 8.0.
bool launches_overlap();

// Whether any code of this addon runs on the current device: compiled for it, or PTX that its driver can compile.
bool holds_code_for_device();

struct LaunchOptions {
  // So many neighbours along x run together and may read each other's shared memory; only where launches overlap.
  unsigned cluster = 1;
  // Percent of a multiprocessor's memory that is best shared memory, the rest being first-level cache; -1: as the kernel prefers.
  // A hint, also for the kernels that run beside this one, and only where launches overlap.
  int shared_percent = -1;
};

// LaunchOptions::shared_percent of the kernels that share multiprocessors where there are few tokens, so that none waits for another's
// blocks to end because it wants another division. H100, llama3-8b, one token: a step of INT4 weights takes 2.14 ms in place of 2.17.
constexpr int kSharedPercentOfFewTokens = 50, kFewTokens = 8;

// kernel<<<grid, block, shared_bytes, stream>>>(arguments...), overlapping with its predecessor where the device can.
template <class... Parameters, class... Arguments>
void launch_as(const LaunchOptions& options, const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
               Stream stream, Arguments&&... arguments) {
  cudaLaunchAttribute attributes[3] = {};
  unsigned count = 0;
  if (launches_overlap()) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
    if (options.cluster > 1) {
      attributes[count].id = cudaLaunchAttributeClusterDimension;
      attributes[count++].val.clusterDim = {options.cluster, 1, 1};
    }
    if (options.shared_percent >= 0) {
      attributes[count].id = cudaLaunchAttributePreferredSharedMemoryCarveout;
      attributes[count++].val.sharedMemCarveout = static_cast<unsigned>(options.shared_percent);
    }
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = count;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(std::forward<Arguments>(arguments))...), name);
}

template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, Stream stream,
            Arguments&&... arguments) {
  launch_as({}, name, kernel, grid, block, shared_bytes, stream, std::forward<Arguments>(arguments)...);
}

}  // namespace kvant::cuda
