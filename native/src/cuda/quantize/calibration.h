#pragma once
#include <optional>
#include <string>
#include <vector>

#include "cuda/check.h"
#include "cuda/device_stream.h"
#include "double_product.h"
#include "inverse_factor.h"
#include "kvant/cuda/calibration.h"
#include "matrix_kernels.h"

namespace kvant::cuda::quantize {

// Waits for the stream.
template <class Value>
std::vector<Value> download(const Value* from, int64_t count, Stream stream) {
  std::vector<Value> values(static_cast<size_t>(count));
  if (count > 0) check(cudaMemcpyAsync(values.data(), from, values.size() * sizeof(Value), cudaMemcpyDeviceToHost, stream), "reading figures");
  check(cudaStreamSynchronize(stream), "reading figures");
  return values;
}

// A matrix on the device, its grid, and the scales of round to nearest.
struct Uploaded {
  DeviceMemory values;
  int64_t rows, cols, scale_count;
  Grid grid;
  int64_t elements() const { return rows * cols; }
};

// Scales and zero points of a matrix.
struct ScaleMemory {
  explicit ScaleMemory(int64_t count)
      : scales(static_cast<size_t>(count) * sizeof(float), "scales"), zeros(static_cast<size_t>(count), "zero points") {}
  DeviceScales view() const { return {scales.as<float>(), zeros.as<int8_t>()}; }
  DeviceMemory scales, zeros;
};

// Statistics and the Gram matrix are in calibration.cc, the methods and what they share in calibration_methods.cc.
class Calibration final : public CudaCalibration {
 public:
  explicit Calibration(const CalibrationOptions& options);
  ~Calibration() override { cudaStreamSynchronize(stream_.get()); }
  int64_t width() const override { return options_.width; }
  void add(const float* x, int64_t tokens) override;
  void add_on_device(const float* x, int64_t tokens, Stream stream) override;
  ActivationFigures figures() override;
  void read_gram(double* to) override;
  std::unique_ptr<CudaCalibration> divide(const float* scales) override;
  GptqFigures quantize_gptq(const GridMatrix& matrix, const GptqRequest& request, const CodedMatrix& to) override;
  std::vector<double> awq_losses(const GridMatrix& matrix, const float* candidates, int64_t count) override;
  ClipFigures awq_clip(const GridMatrix& matrix, const ClipRequest& request, const CodedMatrix& to) override;
  std::vector<double> output_errors(const float* values, const float* rounded, int64_t rows) override;

 private:
  static size_t bytes_of(int64_t count, size_t size) { return static_cast<size_t>(count) * size; }

  // Waits for what was added on any stream.
  void settle() const;

  // The whole Gram matrix, symmetric to the bit.
  const double* gram();
  const InverseFactor& factor(const GptqRequest& request);
  void take_sample(const float* x, int64_t tokens, Stream stream);
  DeviceMemory upload_values(const float* values, int64_t count) const;
  Uploaded upload(const GridMatrix& matrix) const;

  // One per scale.
  DeviceMemory find_group_ranges(const Uploaded& w, const float* columns) const;
  float largest_of(const DeviceMemory& ranges, const Uploaded& w) const;

  // AbsMax scales of values with a factor per column; with factors, NVFP4's scale of scales is that of the products.
  void nearest_scales_of(Uploaded& w, const float* columns, const ScaleMemory& to) const;
  void copy(const ScaleMemory& to, const ScaleMemory& from) const;
  double* product_scratch(int64_t count);

  // sums[r] = E_r G E_r^T
  void sum_output_errors(const double* gram, const double* errors, int64_t rows, double* sums);

  // sums[r, g] = e_g G_gg e_g^T of each group alone; the last may be narrower than the others.
  void sum_group_errors(const double* gram, const Uploaded& w, const double* errors, double* sums);

  // Codes of values that the grid holds, or rounds, under these scales.
  void finish(const Uploaded& w, const DeviceMemory& values, const ScaleMemory& scales, const CodedMatrix& to) const;

  CalibrationOptions options_;
  DeviceStream stream_;
  DeviceMemory sums_, largest_, bins_, sample_;
  std::optional<DoubleProducts> products_;  // none: magnitudes alone
  DeviceMemory gram_;                       // [width, width]; above the diagonal it is right once it is mirrored
  DeviceMemory wide_;                       // the activations that came last in float64
  DeviceMemory scratch_;                    // of products of errors with the Gram matrix
  int64_t seen_ = 0, sampled_ = 0;
  bool is_mirrored_ = false;
  std::optional<InverseFactor> factor_;
  double factor_damping_ = 0;
  bool factor_order_ = false;
};

}  // namespace kvant::cuda::quantize
