// What tests of matrices on the device share: memory that shows what was never written, and one product.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "counted_checks.h"
#include "cuda_check.h"
#include "kvant/cuda/linear.h"

namespace kvant_test {

// Device memory that begins as 0xff bytes: NaN as float32, fp16 and bf16.
class Poisoned {
 public:
  explicit Poisoned(size_t bytes) : bytes_(bytes) {
    succeed(cudaMalloc(&data_, std::max<size_t>(bytes, 16)), "cudaMalloc");
    succeed(cudaMemset(data_, 0xff, bytes), "cudaMemset");
  }
  template <class T>
  explicit Poisoned(const std::vector<T>& values) : Poisoned(values.size() * sizeof(T)) {
    succeed(cudaMemcpy(data_, values.data(), bytes_, cudaMemcpyHostToDevice), "upload");
  }
  Poisoned(const Poisoned&) = delete;
  ~Poisoned() { cudaFree(data_); }
  void* data() const { return data_; }
  float* floats() const { return static_cast<float*>(data_); }
  std::vector<float> download() const {
    std::vector<float> out(bytes_ / sizeof(float));
    succeed(cudaMemcpy(out.data(), data_, bytes_, cudaMemcpyDeviceToHost), "download");
    return out;
  }

 private:
  void* data_ = nullptr;
  size_t bytes_;
};

// Tokens [first, first + tokens) of x; `there`: what is added to, [tokens, N].
inline std::vector<float> run(const kvant::cuda::CudaMatrix& matrix, const std::vector<float>& x, int64_t first, int64_t tokens, const float* bias,
                              kvant::cuda::Result result = kvant::cuda::Result::fp32, std::vector<float> there = {}) {
  const int64_t cols = matrix.spec().cols;
  const Poisoned input(std::vector<float>(x.begin() + first * cols, x.begin() + (first + tokens) * cols));
  const Poisoned workspace(matrix.workspace_bytes(tokens));
  const int64_t rows = matrix.spec().rows;
  const auto held = static_cast<size_t>(kvant::cuda::whole_token_units(tokens) * rows), count = static_cast<size_t>(tokens * rows);
  const Poisoned y(held * sizeof(float));
  there.resize(held, std::numeric_limits<float>::quiet_NaN());
  const Poisoned onto(there);
  matrix.run(input.floats(), tokens, bias, {y.floats(), result, result == kvant::cuda::Result::added ? onto.floats() : nullptr}, workspace.data(), nullptr);
  succeed(cudaDeviceSynchronize(), matrix.variant(tokens).c_str());
  std::vector<float> out = result == kvant::cuda::Result::added ? onto.download() : y.download();
  if (result == kvant::cuda::Result::bf16) {
    std::vector<uint16_t> codes(held);
    std::memcpy(codes.data(), out.data(), held * sizeof(uint16_t));
    for (size_t i = 0; i < count; i++) {
      const uint32_t bits = static_cast<uint32_t>(codes[i]) << 16;
      std::memcpy(&out[i], &bits, sizeof bits);
    }
  }
  out.resize(count);
  return out;
}

}  // namespace kvant_test
