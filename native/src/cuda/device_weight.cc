#include "cuda/device_weight.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "cpu/linear/float_codes.h"
#include "cuda/check.h"
#include "cuda/test_fault.h"

namespace kvant::cuda {
namespace {

// Large enough that copies run at the bus's speed, small enough to cost nothing.
constexpr size_t kStagingBytes = size_t{16} << 20;

float read_value(const uint8_t* source, int64_t index, Format dtype) {
  if (dtype == Format::fp32) {
    float value;
    std::memcpy(&value, source + index * 4, 4);
    return value;
  }
  uint16_t code;
  std::memcpy(&code, source + index * 2, 2);
  return kvant::linear::decode_float(code, dtype);
}

void write_value(uint8_t* target, int64_t index, Format format, float value) {
  if (format == Format::fp32) {
    std::memcpy(target + index * 4, &value, 4);
    return;
  }
  const auto code = static_cast<uint16_t>(kvant::linear::encode_float(value, kvant::linear::float_definition(format)));
  std::memcpy(target + index * 2, &code, 2);
}

}  // namespace

void LoadStaging::copy(void* target, const uint8_t* source, size_t bytes, Stream stream) {
  for (size_t done = 0; done < bytes;) {
    Buffer& buffer = buffers_[next_];
    next_ = 1 - next_;
    if (buffer.memory.bytes() == 0) buffer.memory = PinnedMemory(kStagingBytes, "weights on their way to the device");
    if (buffer.copied) {
      buffer.copied->wait("copying a weight to the device");
    } else {
      buffer.copied.emplace();
    }
    const size_t part = std::min(bytes - done, kStagingBytes);
    std::memcpy(buffer.memory.as<uint8_t>(), source + done, part);
    check(cudaMemcpyAsync(static_cast<uint8_t*>(target) + done, buffer.memory.as<uint8_t>(), part, cudaMemcpyHostToDevice, stream),
          "copying a weight to the device");
    buffer.copied->record(stream);
    done += part;
  }
}

const void* LoadStaging::upload(const uint8_t* source, size_t bytes, Stream stream) {
  if (on_device_.bytes() < bytes) {
    check(cudaStreamSynchronize(stream), "loading weights");
    on_device_ = {};
    on_device_ = DeviceMemory(bytes, "a weight on its way to its packed form");
  }
  copy(on_device_.data(), source, bytes, stream);
  return on_device_.data();
}

void LoadStaging::release() {
  on_device_ = {};
  for (Buffer& buffer : buffers_) buffer.memory = {};
}

DeviceWeight::DeviceWeight(const WeightSpec& spec, const std::string& name, const CudaMatrixOptions& options)
    : spec_(spec), name_(name), loaded_(static_cast<size_t>(spec.rows)), missing_rows_(spec.rows) {
  // Vectors are kept as float32 whatever the checkpoint holds.
  if (spec_.kind == WeightSpec::Kind::vector) spec_.format = Format::fp32;
  if (spec_.kind != WeightSpec::Kind::matrix) {
    values_ = DeviceMemory(static_cast<size_t>(spec_.rows * spec_.cols * bits(spec_.format) / 8), name);
    return;
  }
  try {
    matrix_ = make_cuda_matrix({spec_.rows, spec_.cols, spec_.format, spec_.group_size, spec_.activation, spec_.activation_scale, spec_.scales},
                               options);
  } catch (const std::invalid_argument& error) {
    throw Error("OP_UNSUPPORTED", name_ + ": " + error.what());
  }
}

void DeviceWeight::load(int64_t row_offset, int64_t rows, Format dtype, const uint8_t* source, size_t source_bytes,
                        LoadStaging& staging, Stream stream) {
  if (row_offset < 0 || rows < 1 || row_offset > spec_.rows || rows > spec_.rows - row_offset) {
    throw Error("TENSOR_SHAPE", name_ + ": rows " + std::to_string(row_offset) + " to " + std::to_string(row_offset + rows - 1) +
                                    " leave its " + std::to_string(spec_.rows) + " rows");
  }
  const int64_t wanted = rows * spec_.cols * bits(dtype) / 8;
  if (source_bytes != static_cast<size_t>(wanted)) {
    throw Error("TENSOR_SHAPE", name_ + ": " + std::to_string(rows) + " x " + std::to_string(spec_.cols) + " values take " +
                                    std::to_string(wanted) + " bytes, not " + std::to_string(source_bytes));
  }
  for (int64_t row = row_offset; row < row_offset + rows; row++) {
    if (loaded_[static_cast<size_t>(row)]) throw Error("TENSOR_SHAPE", name_ + ": row " + std::to_string(row) + " arrived twice");
  }
  if (test_fault("alloc-load")) throw Error("OUT_OF_MEMORY", name_ + ": a test ordered that its " + std::to_string(wanted) + " bytes find no memory");
  if (matrix_) {
    matrix_->load_rows(row_offset, rows, dtype, staging.upload(source, source_bytes, stream), stream);
  } else {
    copy_rows(row_offset, rows, dtype, source, staging, stream);
  }
  for (int64_t row = row_offset; row < row_offset + rows; row++) loaded_[static_cast<size_t>(row)] = true;
  missing_rows_ -= rows;
}

void DeviceWeight::copy_rows(int64_t row_offset, int64_t rows, Format dtype, const uint8_t* source, LoadStaging& staging,
                             Stream stream) {
  const int64_t row_bytes = spec_.cols * bits(spec_.format) / 8;
  std::vector<uint8_t> converted;
  if (dtype != spec_.format) {
    converted.resize(static_cast<size_t>(rows * row_bytes));
    for (int64_t i = 0; i < rows * spec_.cols; i++) write_value(converted.data(), i, spec_.format, read_value(source, i, dtype));
    source = converted.data();
  }
  staging.copy(values_.as<uint8_t>() + row_offset * row_bytes, source, static_cast<size_t>(rows * row_bytes), stream);
}

}  // namespace kvant::cuda
