#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cuda/device_memory.h"
#include "cuda/device_stream.h"
#include "kvant/cuda/linear.h"
#include "plan/plan.h"
#include "plan/weight_rows.h"

namespace kvant::cuda {

// The way of weights to the device: through two page-locked buffers in turn, so that one is filled while the other is copied
// from, and, on their way to a packed form, through device memory that grows to the largest. It goes when loading ends.
class LoadStaging {
 public:
  // Host bytes to `target` on the device. `source` may be freed when the call returns.
  void copy(void* target, const uint8_t* source, size_t bytes, Stream stream);
  // Host bytes to device memory that holds them until the next call; the stream keeps readers and the next call apart.
  const void* upload(const uint8_t* source, size_t bytes, Stream stream);
  // The same for the arrays of rows that have been checked.
  CodedRows upload(const CodedRows& rows, const CodedSource& source, Stream stream);
  void release();

 private:
  void reserve(size_t bytes, Stream stream);

  struct Buffer {
    PinnedMemory memory;
    std::optional<DeviceEvent> copied;
  };
  Buffer buffers_[2];
  int next_ = 0;
  DeviceMemory on_device_;
};

// A weight of a plan on the device: a packed matrix, a table in a float format, or float32 values.
class DeviceWeight {
 public:
  // Throws Error OP_UNSUPPORTED when there is no kernel for the scheme, OUT_OF_MEMORY.
  DeviceWeight(const WeightSpec& spec, const std::string& name, const CudaMatrixOptions& options);

  // As the CPU's LoadedWeight::load; returns when `source` has been read, and the stream does the rest.
  void load(int64_t row_offset, int64_t rows, Format dtype, const uint8_t* source, size_t source_bytes, LoadStaging& staging,
            Stream stream);
  void load(int64_t row_offset, int64_t rows, const CodedSource& source, LoadStaging& staging, Stream stream);

  bool complete() const { return rows_.complete(); }
  size_t bytes() const { return matrix_ ? matrix_->bytes() : values_.bytes(); }

  const CudaMatrix& matrix() const { return *matrix_; }
  const float* vector() const { return values_.as<float>(); }
  const void* table() const { return values_.data(); }
  Format table_format() const { return spec_.format; }

 private:
  void copy_rows(int64_t row_offset, int64_t rows, Format dtype, const uint8_t* source, LoadStaging& staging, Stream stream);

  WeightSpec spec_;
  std::string name_;
  std::unique_ptr<CudaMatrix> matrix_;  // kind matrix
  DeviceMemory values_;                 // kinds table and vector
  WeightRows rows_;
};

}  // namespace kvant::cuda
