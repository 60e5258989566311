#pragma once
#include <cuda_runtime_api.h>

#include "kvant/cuda/stream.h"

namespace kvant::cuda {

// A point in a stream that a thread can sleep for, with its time.
class DeviceEvent {
 public:
  DeviceEvent();
  ~DeviceEvent();
  DeviceEvent(const DeviceEvent&) = delete;
  DeviceEvent& operator=(const DeviceEvent&) = delete;
  void record(Stream stream) const;
  // Throws as `check` when the stream has failed.
  void wait(const char* what) const;
  double seconds_since(const DeviceEvent& start) const;

 private:
  cudaEvent_t event_ = nullptr;
};

// A device context's stream; the device is current while one is made.
class DeviceStream {
 public:
  explicit DeviceStream(int device);
  ~DeviceStream();
  DeviceStream(const DeviceStream&) = delete;
  DeviceStream& operator=(const DeviceStream&) = delete;
  // Makes the device current on the calling thread.
  void enter() const;
  Stream get() const { return stream_; }

 private:
  int device_;
  Stream stream_ = nullptr;
};

}  // namespace kvant::cuda
