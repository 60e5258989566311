#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kvant/cuda/stream.h"

namespace kvant {

// What is gathered of activations [tokens, width] on a device.
struct CalibrationOptions {
  std::string device;           // cuda or cuda:N
  int64_t width = 0;
  bool gram = true;             // absent: magnitudes alone
  int64_t sample_stride = 1;    // every so many tokens one is kept whole, the first one first
  int64_t sample_capacity = 0;  // as many at most
};

// Half octaves of magnitudes from 2^-30 to 2^20, what lies beyond in the first or last; packages/quantizers `MagnitudeCounts`.
constexpr int kMagnitudeBins = 100;

struct ActivationFigures {
  std::vector<double> sums;      // [width] of magnitudes
  std::vector<float> largest;    // [width] magnitudes
  std::vector<double> squares;   // [width] sums of squares, the diagonal of the Gram matrix; empty without one
  std::vector<double> bins;      // [kMagnitudeBins]
  double zeros = 0;              // values that are exactly 0
  std::vector<float> sample;     // [samples, width]
};

// A weight format with scales, as packages/quantizers `codeGrid` sees it.
struct GridFormat {
  std::string format;        // int8 int4 int3 int2 e4m3 e5m2 e2m1
  std::string scale_format;  // "" (float32), e8m0 or e4m3
  bool affine = false;
  int64_t group_size = 0;    // values per scale along a row; -1: one scale per row; -2: one for the matrix
};

// A float32 matrix on the host and the format that it takes.
struct GridMatrix {
  const float* values = nullptr;  // [rows, width]
  int64_t rows = 0;
  GridFormat grid;
};

// Where codes and scales go on the host, in the layout of packages/formats `QuantizedTensor`.
struct CodedMatrix {
  uint8_t* codes = nullptr;     // [rows, row bytes]
  float* scales = nullptr;      // [scale count]
  int8_t* zeros = nullptr;      // [scale count], affine formats only
  float* restored = nullptr;    // [rows, width], what the codes stand for
};
struct CodedSizes {
  int64_t codes = 0, scales = 0;
};
// Throws Error OP_UNSUPPORTED for a format that no kernel takes, INVALID_ARGUMENT for a group size of 0.
CodedSizes coded_sizes(const GridFormat& grid, int64_t rows, int64_t width);

// Per row the squared error of its output over the calibration tokens.
struct RowErrors {
  std::vector<double> nearest, own;  // [rows] of round to nearest, of the result
  float tensor_scale = 0;            // NVFP4 only
};

struct GptqRequest {
  double damping = 0.01;
  bool act_order = false;
  bool static_scales = false;
};
struct GptqFigures : RowErrors {
  double damping = 0;
  int64_t dead_columns = 0, kept_rows = 0;
};

struct ClipRequest {
  std::vector<float> shrinks;  // the first is 1
};
struct ClipFigures : RowErrors {
  std::vector<float> shrinks;  // [scale count], what each group has kept
};

// Statistics of the activations that linear layers read, on a CUDA device, and what quantizers compute through their Gram matrix
// there: the methods of packages/quantizers, in float64 as these, with sums in another order. Not thread-safe.
class CudaCalibration {
 public:
  virtual ~CudaCalibration() = default;

  // x [tokens, width] on the host, or on the device in what `stream` has made when it comes here.
  virtual void add(const float* x, int64_t tokens) = 0;
  virtual void add_on_device(const float* x, int64_t tokens, cuda::Stream stream) = 0;
  virtual int64_t width() const = 0;
  virtual ActivationFigures figures() = 0;

  // All below throw Error INVALID_ARGUMENT without a Gram matrix.
  virtual void read_gram(double* gram) = 0;  // [width, width]
  // Of activations whose channels are divided by `scales` [width]; nothing but the Gram matrix.
  virtual std::unique_ptr<CudaCalibration> divide(const float* scales) = 0;
  // GPTQ (Frantar et al. 2022): packages/quantizers `quantizeGptq`. The factor is kept for calls with the same damping and order.
  // Throws Error INVALID_ARGUMENT as `inverseCholeskyUpper` does.
  virtual GptqFigures quantize_gptq(const GridMatrix& matrix, const GptqRequest& request, const CodedMatrix& to) = 0;
  // AWQ's objective (Lin et al. 2023) of each candidate [count, width] of column scales: `scaledLoss` of packages/quantizers.
  virtual std::vector<double> awq_losses(const GridMatrix& matrix, const float* candidates, int64_t count) = 0;
  // AWQ's clipping search: packages/quantizers `searchAwqClip`.
  virtual ClipFigures awq_clip(const GridMatrix& matrix, const ClipRequest& request, const CodedMatrix& to) = 0;
  // Per row E G E^T, E being `values` less `rounded` [rows, width], which may be null for zeros.
  virtual std::vector<double> output_errors(const float* values, const float* rounded, int64_t rows) = 0;
};

// Throws Error BACKEND_UNAVAILABLE when the device, or for a Gram matrix cuBLASLt, is absent, with the reason, OUT_OF_MEMORY.
std::unique_ptr<CudaCalibration> make_cuda_calibration(const CalibrationOptions& options);

}  // namespace kvant
