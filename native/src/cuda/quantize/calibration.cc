#include "calibration.h"

#include <algorithm>

#include "activation_kernels.h"
#include "cuda/device.h"
#include "cuda/launch.cuh"
#include "kvant/cuda.h"

namespace kvant::cuda::quantize {

Calibration::Calibration(const CalibrationOptions& options)
    : options_(options), stream_(device_index(options.device)), sums_(bytes_of(options.width, sizeof(double)), "figures of activations"),
      largest_(bytes_of(options.width, sizeof(float)), "figures of activations"),
      bins_((kMagnitudeBins + 1) * sizeof(unsigned long long), "figures of activations"),
      sample_(bytes_of(options.width * options.sample_capacity, sizeof(float)), "a sample of activations") {
  if (!options.gram) return;
  products_.emplace();
  gram_ = DeviceMemory(bytes_of(options.width * options.width, sizeof(double)), "a Gram matrix");
}

void Calibration::add(const float* x, int64_t tokens) {
  stream_.enter();
  DeviceMemory activations(bytes_of(tokens * width(), sizeof(float)), "activations");
  if (activations.bytes() > 0) check(cudaMemcpy(activations.data(), x, activations.bytes(), cudaMemcpyHostToDevice), "activations");
  add_on_device(activations.as<float>(), tokens, stream_.get());
  check(cudaStreamSynchronize(stream_.get()), "gathering activations");
}

void Calibration::add_on_device(const float* x, int64_t tokens, Stream stream) {
  stream_.enter();
  if (tokens == 0 || width() == 0) return;
  const size_t wide_bytes = products_ ? bytes_of(tokens * width(), sizeof(double)) : 0;
  if (wide_.bytes() < wide_bytes) wide_ = DeviceMemory(wide_bytes, "activations in float64");
  double* const wide = products_ ? wide_.as<double>() : nullptr;
  add_figures(x, tokens, width(), {sums_.as<double>(), largest_.as<float>(), bins_.as<unsigned long long>()}, wide, stream);
  take_sample(x, tokens, stream);
  seen_ += tokens;
  if (!products_) return;
  factor_.reset();
  is_mirrored_ = false;
  products_->multiply_lower({.target = gram_.as<double>(),
                             .target_stride = width(),
                             .left = {wide, width(), true},
                             .right = {wide, width()},
                             .rows = width(),
                             .cols = width(),
                             .depth = tokens,
                             .beta = 1},
                            stream);
}

ActivationFigures Calibration::figures() {
  settle();
  ActivationFigures out;
  out.sums = download(sums_.as<double>(), width(), stream_.get());
  out.largest = download(largest_.as<float>(), width(), stream_.get());
  const auto bins = download(bins_.as<unsigned long long>(), kMagnitudeBins + 1, stream_.get());
  out.bins.assign(bins.begin(), bins.end() - 1);
  out.zeros = static_cast<double>(bins.back());
  out.sample = download(sample_.as<float>(), sampled_ * width(), stream_.get());
  if (!products_) return out;
  out.squares.resize(static_cast<size_t>(width()));
  check(cudaMemcpy2D(out.squares.data(), sizeof(double), gram_.data(), bytes_of(width() + 1, sizeof(double)), sizeof(double), out.squares.size(),
                     cudaMemcpyDeviceToHost),
        "reading figures");
  return out;
}

void Calibration::read_gram(double* to) {
  const double* const from = gram();
  check(cudaMemcpyAsync(to, from, gram_.bytes(), cudaMemcpyDeviceToHost, stream_.get()), "reading a Gram matrix");
  check(cudaStreamSynchronize(stream_.get()), "reading a Gram matrix");
}

std::unique_ptr<CudaCalibration> Calibration::divide(const float* scales) {
  const double* const from = gram();
  CalibrationOptions options = options_;
  options.sample_capacity = 0;
  auto divided = std::make_unique<Calibration>(options);
  DeviceMemory held(bytes_of(width(), sizeof(float)), "factors of channels");
  check(cudaMemcpyAsync(held.data(), scales, held.bytes(), cudaMemcpyHostToDevice, stream_.get()), "factors of channels");
  divide_gram(from, held.as<float>(), width(), divided->gram_.as<double>(), stream_.get());
  check(cudaStreamSynchronize(stream_.get()), "dividing a Gram matrix");
  divided->is_mirrored_ = true;
  return divided;
}

void Calibration::settle() const {
  stream_.enter();
  check(cudaDeviceSynchronize(), "gathering activations");
}

const double* Calibration::gram() {
  if (!products_) throw invalid("these statistics have no Gram matrix");
  settle();
  if (!is_mirrored_) mirror_lower(gram_.as<double>(), width(), stream_.get());
  is_mirrored_ = true;
  wide_ = DeviceMemory();  // nothing more comes, as a rule
  return gram_.as<double>();
}

const InverseFactor& Calibration::factor(const GptqRequest& request) {
  if (!factor_ || factor_damping_ != request.damping || factor_order_ != request.act_order) {
    factor_.reset();
    factor_.emplace(factor_inverse(gram_.as<double>(), width(), request.damping, request.act_order, *products_, stream_.get()));
    factor_damping_ = request.damping;
    factor_order_ = request.act_order;
  }
  return *factor_;
}

void Calibration::take_sample(const float* x, int64_t tokens, Stream stream) {
  const int64_t stride = options_.sample_stride, first = (stride - seen_ % stride) % stride;
  const int64_t count = std::min(options_.sample_capacity - sampled_, first >= tokens ? 0 : (tokens - first + stride - 1) / stride);
  if (count <= 0) return;
  const size_t row = bytes_of(width(), sizeof(float));
  check(cudaMemcpy2DAsync(sample_.as<float>() + sampled_ * width(), row, x + first * width(), row * static_cast<size_t>(stride), row,
                          static_cast<size_t>(count), cudaMemcpyDeviceToDevice, stream),
        "a sample of activations");
  sampled_ += count;
}

DeviceMemory Calibration::upload_values(const float* values, int64_t count) const {
  DeviceMemory memory(bytes_of(count, sizeof(float)), "weights");
  if (count > 0) check(cudaMemcpyAsync(memory.data(), values, memory.bytes(), cudaMemcpyHostToDevice, stream_.get()), "weights");
  return memory;
}

}  // namespace kvant::cuda::quantize

namespace kvant {

std::unique_ptr<CudaCalibration> make_cuda_calibration(const CalibrationOptions& options) {
  cuda::check(cudaSetDevice(cuda::device_index(options.device)), "selecting the device");
  if (!cuda::holds_code_for_device()) throw Error("BACKEND_UNAVAILABLE", "this addon holds no code for " + cuda_device_name(options.device));
  return std::make_unique<cuda::quantize::Calibration>(options);
}

}  // namespace kvant
