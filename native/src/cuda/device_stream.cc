#include "cuda/device_stream.h"

#include "cuda/check.h"

namespace kvant::cuda {

DeviceStream::DeviceStream(int device) : device_(device) {
  enter();
  check(cudaStreamCreate(&stream_), "creating a stream");
}

DeviceStream::~DeviceStream() { cudaStreamDestroy(stream_); }

void DeviceStream::enter() const { check(cudaSetDevice(device_), "selecting the device"); }

DeviceEvent::DeviceEvent() { check(cudaEventCreateWithFlags(&event_, cudaEventBlockingSync), "creating an event"); }

DeviceEvent::~DeviceEvent() { cudaEventDestroy(event_); }

void DeviceEvent::record(Stream stream) const { check(cudaEventRecord(event_, stream), "recording an event"); }

void DeviceEvent::wait(const char* what) const { check(cudaEventSynchronize(event_), what); }

double DeviceEvent::seconds_since(const DeviceEvent& start) const {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, start.event_, event_), "timing a step");
  return milliseconds / 1e3;
}

}  // namespace kvant::cuda
