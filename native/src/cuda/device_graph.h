#pragma once
#include <cuda_runtime_api.h>

#include <functional>

#include "kvant/cuda/stream.h"

namespace kvant::cuda {

// Launches that were recorded once and go to a stream together.
class DeviceGraph {
 public:
  // Records what `put` puts into the stream instead of running it; the kernels must have been loaded before. Throws as `check`, and
  // what `put` throws.
  DeviceGraph(Stream stream, const std::function<void()>& put);
  ~DeviceGraph();
  DeviceGraph(const DeviceGraph&) = delete;
  void launch(Stream stream) const;

 private:
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace kvant::cuda
