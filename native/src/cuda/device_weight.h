#pragma once
#include <memory>
#include <string>
#include <vector>

#include "cuda/device_memory.h"
#include "kvant/cuda/linear.h"
#include "plan/plan.h"

namespace kvant::cuda {

// Device memory that weights pass through while they load; grows to the largest and goes when loading ends.
class LoadStaging {
 public:
  // Copies host bytes to the device; the address holds until the next call.
  const void* upload(const uint8_t* source, size_t bytes, Stream stream);
  void release() { memory_ = {}; }

 private:
  DeviceMemory memory_;
};

// A weight of a plan on the device: a packed matrix, a table in a float format, or float32 values.
class DeviceWeight {
 public:
  // Throws Error OP_UNSUPPORTED when there is no kernel for the scheme, OUT_OF_MEMORY.
  DeviceWeight(const WeightSpec& spec, const std::string& name, const CudaMatrixOptions& options);

  // As the CPU's LoadedWeight::load.
  void load(int64_t row_offset, int64_t rows, Format dtype, const uint8_t* source, size_t source_bytes, LoadStaging& staging,
            Stream stream);

  bool complete() const { return missing_rows_ == 0; }
  size_t bytes() const { return matrix_ ? matrix_->bytes() : values_.bytes(); }

  const CudaMatrix& matrix() const { return *matrix_; }
  const float* vector() const { return values_.as<float>(); }
  const void* table() const { return values_.data(); }
  Format table_format() const { return spec_.format; }

 private:
  void copy_rows(int64_t row_offset, int64_t rows, Format dtype, const uint8_t* source);

  WeightSpec spec_;
  std::string name_;
  std::unique_ptr<CudaMatrix> matrix_;  // kind matrix
  DeviceMemory values_;                 // kinds table and vector
  std::vector<bool> loaded_;            // [rows]
  int64_t missing_rows_;
};

}  // namespace kvant::cuda
