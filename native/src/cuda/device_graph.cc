#include "cuda/device_graph.h"

#include "cuda/check.h"

namespace kvant::cuda {

DeviceGraph::DeviceGraph(Stream stream, const std::function<void()>& put) {
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "beginning a graph");
  cudaGraph_t graph = nullptr;
  try {
    put();
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    throw;
  }
  check(cudaStreamEndCapture(stream, &graph), "ending a graph");
  const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "making a graph");
}

DeviceGraph::~DeviceGraph() {
  if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
}

void DeviceGraph::launch(Stream stream) const { check(cudaGraphLaunch(executable_, stream), "launching a graph"); }

}  // namespace kvant::cuda
