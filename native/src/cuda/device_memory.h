#pragma once
#include <cstddef>
#include <string>
#include <utility>

namespace kvant::cuda {

// The most bytes that DeviceMemory objects of this process have held at one time.
size_t peak_device_bytes();

// Memory of the current device, 256-byte aligned; zeroed on allocation.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  // Throws Error OUT_OF_MEMORY with the bytes asked for, `purpose` and the bytes free.
  DeviceMemory(size_t bytes, const std::string& purpose);
  ~DeviceMemory();
  DeviceMemory(DeviceMemory&& other) noexcept { swap(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    swap(other);
    return *this;
  }

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void swap(DeviceMemory& other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Page-locked host memory, which the device reads and writes while the host runs on.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  // Throws Error OUT_OF_MEMORY with the bytes asked for and `purpose`.
  PinnedMemory(size_t bytes, const std::string& purpose);
  ~PinnedMemory();
  PinnedMemory(PinnedMemory&& other) noexcept { swap(other); }
  PinnedMemory& operator=(PinnedMemory&& other) noexcept {
    swap(other);
    return *this;
  }

  size_t bytes() const { return bytes_; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void swap(PinnedMemory& other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace kvant::cuda
