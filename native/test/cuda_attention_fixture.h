#pragma once
// Sequences in pages of device memory, for the test and the bench of attention.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cuda_check.h"
#include "cuda/op_kernels.h"
#include "plan/format_names.h"

namespace kvant_test {

using kvant::Format;

// Device memory that begins as 0xff bytes: NaN in every format that has one.
template <class T>
class Device {
 public:
  explicit Device(size_t count) : count_(count) {
    succeed(cudaMalloc(&data_, std::max<size_t>(count * sizeof(T), 256)), "cudaMalloc");
    succeed(cudaMemset(data_, 0xff, count * sizeof(T)), "cudaMemset");
  }
  explicit Device(const std::vector<T>& values) : Device(values.size()) { upload(values); }
  Device(const Device&) = delete;
  ~Device() { cudaFree(data_); }
  T* data() const { return data_; }
  size_t count() const { return count_; }
  void upload(const std::vector<T>& values) const {
    succeed(cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), "upload");
  }
  std::vector<T> download() const {
    std::vector<T> out(count_);
    succeed(cudaMemcpy(out.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), "download");
    return out;
  }

 private:
  T* data_ = nullptr;
  size_t count_;
};

// Sum of three uniform numbers, deviation 1; never all equal.
__device__ inline float random_value(uint64_t index, uint32_t seed) {
  float sum = 0;
  for (uint32_t i = 1; i <= 3; i++) {
    uint32_t h = (static_cast<uint32_t>(index) + static_cast<uint32_t>(index >> 32) * 0x51ed270bu + seed * 0x632be5abu + i * 0x9e3779b9u) * 0x85ebca6bu;
    h ^= h >> 15, h *= 0xc2b2ae35u, h ^= h >> 13;
    sum += static_cast<float>(h >> 8) / 8388608.0f - 1.0f;
  }
  return sum;
}

// Values of deviation 1; those of each run of `width` times a power of two, 2^-spread .. 2^spread.
static __global__ void fill_random(float* to, size_t count, uint32_t seed, int width, int spread) {
  for (size_t i = blockIdx.x * size_t{256} + threadIdx.x; i < count; i += size_t{gridDim.x} * 256) {
    const int power = spread == 0 ? 0 : static_cast<int>((i / width * 2654435761u + seed) >> 7) % (2 * spread + 1) - spread;
    to[i] = random_value(i, seed) * exp2f(static_cast<float>(power));
  }
}

// Spreads of values of which the first 64 positions are zeros, and the others about 1e25 or up to 1e38.
constexpr int kLate = -1, kLateAndHuge = -2;

static __global__ void make_late(float* values, size_t count, size_t zeros, float size) {
  for (size_t i = blockIdx.x * size_t{256} + threadIdx.x; i < count; i += size_t{gridDim.x} * 256) values[i] *= i < zeros ? 0.0f : size;
}

struct Shape {
  Format format = Format::int8;
  int head_dim = 128, heads = 32, kv_heads = 8, page_tokens = 16, window = 0;
  bool static_scales = false;
};

inline kvant::cuda::AttentionShape attention_shape(const Shape& shape) {
  return {shape.format, shape.heads, shape.kv_heads, shape.head_dim};
}

inline std::string name_of(const Shape& shape) {
  std::string name = std::string(kvant::format_name(shape.format)) + (shape.static_scales ? " static" : "") + " " + std::to_string(shape.heads) +
                     "/" + std::to_string(shape.kv_heads) + " heads of " + std::to_string(shape.head_dim) + ", pages of " +
                     std::to_string(shape.page_tokens);
  return shape.window > 0 ? name + ", window " + std::to_string(shape.window) : name;
}

// Two layers of pages; layer 1 is in use. Pages of rows are scattered.
class Sequences {
 public:
  Sequences(const Shape& shape, const std::vector<int>& contexts, uint32_t seed, int spread = 0)
      : shape_(shape), statics_(statics_of(shape)) {
    const int bytes = kvant::bits(shape.format) / 8;
    const bool scaled = bytes == 1 && !shape.static_scales;
    const int64_t codes = int64_t{shape.kv_heads} * shape.page_tokens * shape.head_dim * bytes;
    const int64_t scales = scaled ? int64_t{shape.kv_heads} * shape.page_tokens * 4 : 0;
    int64_t page_count = 0, stride = 0;
    for (int context : contexts) {
      const int64_t needed = (context + shape.page_tokens - 1) / shape.page_tokens;
      page_count += needed, stride = std::max(stride, needed);
    }
    std::vector<int32_t> numbers(static_cast<size_t>(page_count)), table(contexts.size() * static_cast<size_t>(stride));
    for (size_t i = 0; i < numbers.size(); i++) numbers[i] = static_cast<int32_t>(i);
    std::shuffle(numbers.begin(), numbers.end(), std::mt19937(seed));
    size_t next = 0;
    for (size_t row = 0; row < contexts.size(); row++) {
      const size_t needed = static_cast<size_t>((contexts[row] + shape.page_tokens - 1) / shape.page_tokens);
      for (size_t i = 0; i < needed; i++) table[row * static_cast<size_t>(stride) + i] = numbers[next++];
    }
    pages.layer_bytes = 2 * codes + 2 * scales;
    pages.page_bytes = 2 * pages.layer_bytes;
    pages.v_codes = codes, pages.k_scales = 2 * codes, pages.v_scales = 2 * codes + scales;
    pages.page_tokens = shape.page_tokens, pages.kv_heads = shape.kv_heads, pages.head_dim = shape.head_dim;
    pages.layer_count = 2, pages.window = shape.window, pages.format = shape.format;
    memory_ = std::make_unique<Device<uint8_t>>(static_cast<size_t>(page_count * pages.page_bytes));
    tables_ = std::make_unique<Device<int32_t>>(table);
    pages.base = memory_->data();
    pages.tables = tables_->data();
    pages.table_stride = stride;
    if (shape.static_scales) pages.k_static = statics_.data(), pages.v_static = statics_.data() + 2 * shape.kv_heads;
    for (size_t row = 0; row < contexts.size(); row++) fill(static_cast<int>(row), contexts[row], seed, spread);
  }

  std::vector<uint8_t> download() const { return memory_->download(); }
  void upload(const std::vector<uint8_t>& bytes) const { memory_->upload(bytes); }

  kvant::KvPages pages;

 private:
  static std::vector<float> statics_of(const Shape& shape) {
    std::vector<float> out;
    for (int i = 0; i < 4 * shape.kv_heads; i++) out.push_back((3.0f + 0.1f * static_cast<float>(i % 5)) / kvant::max_value(shape.format));
    return out;
  }

  void fill(int row, int context, uint32_t seed, int spread) const {
    constexpr int kPart = 8192;
    const size_t width = static_cast<size_t>(shape_.kv_heads * shape_.head_dim);
    const Device<float> k(std::min(kPart, context) * width), v(std::min(kPart, context) * width);
    const Device<unsigned long long> saturations(1);
    for (int begin = 0; begin < context; begin += kPart) {
      const int count = std::min(kPart, context - begin);
      std::vector<int32_t> slots(static_cast<size_t>(count), row), positions(static_cast<size_t>(count));
      for (int i = 0; i < count; i++) positions[static_cast<size_t>(i)] = begin + i;
      const Device<int32_t> device_slots(slots), device_positions(positions);
      const auto key = seed + 7919u * static_cast<uint32_t>(row) + static_cast<uint32_t>(begin);
      fill_random<<<1024, 256>>>(k.data(), k.count(), key, shape_.head_dim, 0);
      fill_random<<<1024, 256>>>(v.data(), v.count(), key + 1, shape_.head_dim, std::max(0, spread));
      if (spread < 0) make_late<<<1024, 256>>>(v.data(), v.count(), begin == 0 ? 64 * width : 0, spread == kLate ? 0x1p83f : 0x1p125f);
      kvant::cuda::kv_write(k.data(), v.data(), {count, nullptr, device_positions.data(), device_slots.data()}, pages, 1, saturations.data(), nullptr);
      succeed(cudaDeviceSynchronize(), "kv_write");
    }
  }

  Shape shape_;
  Device<float> statics_;
  std::unique_ptr<Device<uint8_t>> memory_;
  std::unique_ptr<Device<int32_t>> tables_;
};

// A step: per row its slot, the position of its first token and how many tokens it brings; slot -1 pads.
struct Row {
  int slot, position, count;
};

class Step {
 public:
  Step(const Shape& shape, const std::vector<Row>& rows, uint32_t seed, float q_size = 1)
      : slots_(slots_of(rows)), slots(slots_), positions(positions_of(rows)), q(slots_.size() * static_cast<size_t>(shape.heads * shape.head_dim)),
        out(q.count()) {
    static_cast<void>(q_size);
    fill_random<<<1024, 256>>>(q.data(), q.count(), seed, 1, 0);
    args = {q.data(), out.data(), shape.heads, q_size / std::sqrt(static_cast<float>(shape.head_dim)), 1};
    tokens = {static_cast<int64_t>(slots_.size()), nullptr, positions.data(), slots.data()};
  }

 private:
  static std::vector<int32_t> slots_of(const std::vector<Row>& rows) {
    std::vector<int32_t> out;
    for (const Row& row : rows) out.insert(out.end(), static_cast<size_t>(row.count), row.slot);
    return out;
  }
  static std::vector<int32_t> positions_of(const std::vector<Row>& rows) {
    std::vector<int32_t> out;
    for (const Row& row : rows) {
      for (int i = 0; i < row.count; i++) out.push_back(row.position + i);
    }
    return out;
  }
  std::vector<int32_t> slots_;

 public:
  Device<int32_t> slots, positions;
  Device<float> q, out;
  kvant::AttentionArgs args;
  kvant::StepTokens tokens;
};

}  // namespace kvant_test
