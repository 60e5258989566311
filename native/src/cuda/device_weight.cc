#include "cuda/device_weight.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

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
  reserve(bytes, stream);
  copy(on_device_.data(), source, bytes, stream);
  return on_device_.data();
}

CodedRows LoadStaging::upload(const CodedRows& rows, const CodedSource& source, Stream stream) {
  constexpr size_t kAlignment = 16;
  size_t bytes = 0;
  const auto place = [&](size_t count) { return std::exchange(bytes, (bytes + count + kAlignment - 1) / kAlignment * kAlignment); };
  const size_t codes = place(source.codes.size_bytes()), scales = place(source.scales.size_bytes()),
               scale_codes = place(source.scale_codes.size_bytes()), zeros = place(source.zeros.size_bytes());
  reserve(bytes, stream);
  const auto send = [&]<class T>(std::span<const T> from, size_t at) -> const T* {
    if (from.empty()) return nullptr;
    T* const to = reinterpret_cast<T*>(on_device_.as<uint8_t>() + at);
    copy(to, reinterpret_cast<const uint8_t*>(from.data()), from.size_bytes(), stream);
    return to;
  };
  return {.rows = rows.rows,
          .codes = send(source.codes, codes),
          .scales = send(source.scales, scales),
          .scale_codes = send(source.scale_codes, scale_codes),
          .zeros = send(source.zeros, zeros),
          .tensor_scale = rows.tensor_scale};
}

void LoadStaging::reserve(size_t bytes, Stream stream) {
  if (on_device_.bytes() >= bytes) return;
  check(cudaStreamSynchronize(stream), "loading weights");
  on_device_ = {};
  on_device_ = DeviceMemory(bytes, "a weight on its way to its packed form");
}

void LoadStaging::release() {
  on_device_ = {};
  for (Buffer& buffer : buffers_) buffer.memory = {};
}

DeviceWeight::DeviceWeight(const WeightSpec& spec, const std::string& name, const CudaMatrixOptions& options)
    : spec_(spec), name_(name), rows_(spec, name) {
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
  rows_.check(row_offset, rows, dtype, source_bytes);
  if (test_fault("alloc-load")) throw Error("OUT_OF_MEMORY", name_ + ": a test ordered that its " + std::to_string(source_bytes) + " bytes find no memory");
  if (matrix_) {
    matrix_->load_rows(row_offset, rows, dtype, staging.upload(source, source_bytes, stream), stream);
  } else {
    copy_rows(row_offset, rows, dtype, source, staging, stream);
  }
  rows_.arrive(row_offset, rows);
}

void DeviceWeight::load(int64_t row_offset, int64_t rows, const CodedSource& source, LoadStaging& staging, Stream stream) {
  const CodedRows checked = rows_.check(row_offset, rows, source);
  matrix_->load_codes(row_offset, staging.upload(checked, source, stream), stream);
  rows_.arrive(row_offset, rows);
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
