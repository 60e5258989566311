#include "double_product.h"

#include <algorithm>
#include <string>

#include "cuda/linear/library_loader.h"
#include "cuda/linear/library_session.h"
#include "kvant/cuda/linear.h"
#include "plan/error.h"

namespace kvant::cuda::quantize {
namespace {

namespace library = linear::library;

// Wide enough that strips waste little (a seventh of 14336 columns beside the diagonal), and products run at the library's best rate.
constexpr int64_t kStripColumns = 2048;

// The library thinks in columns: a row-major matrix is its transpose there.
class Shape {
 public:
  Shape(int64_t rows, int64_t cols, int64_t stride, int64_t batches, int64_t batch_stride) {
    const library::Functions& f = *library::functions();
    library::succeed(f.shape_create(&shape_, CUDA_R_64F, static_cast<uint64_t>(cols), static_cast<uint64_t>(rows), stride), "describing a matrix");
    if (batches == 1) return;
    const auto count = static_cast<int32_t>(batches);
    set(library::ShapeAttribute::batch_count, &count, sizeof count);
    set(library::ShapeAttribute::batch_stride, &batch_stride, sizeof batch_stride);
  }
  ~Shape() { library::functions()->shape_destroy(shape_); }
  Shape(const Shape&) = delete;
  library::MatrixShape get() const { return shape_; }

 private:
  void set(library::ShapeAttribute attribute, const void* value, size_t bytes) {
    library::succeed(library::functions()->shape_set(shape_, attribute, value, bytes), "describing batches");
  }

  library::MatrixShape shape_ = nullptr;
};

class Operation {
 public:
  Operation() {
    library::succeed(library::functions()->operation_create(&operation_, library::Compute::fp64, CUDA_R_64F), "creating an operation");
  }
  ~Operation() { library::functions()->operation_destroy(operation_); }
  Operation(const Operation&) = delete;
  void transpose(library::OperationAttribute which) {
    library::succeed(library::functions()->operation_set(operation_, which, &library::kTransposed, sizeof library::kTransposed), "setting an attribute");
  }
  library::Operation get() const { return operation_; }

 private:
  library::Operation operation_ = nullptr;
};

// Bytes, a power of two, by which a matrix and its batches are aligned at least.
uint32_t alignment_of(const double* data, int64_t batch_stride) {
  const auto places = reinterpret_cast<uintptr_t>(data) | static_cast<uintptr_t>(batch_stride * static_cast<int64_t>(sizeof(double))) | 256;
  return static_cast<uint32_t>(places & -places);
}

library::Algorithm first_choice(const DoubleProduct& p, const Operation& operation, const Shape& a, const Shape& b, const Shape& c) {
  using enum library::PreferenceAttribute;
  const library::Functions& f = *library::functions();
  library::Preference preference = nullptr;
  library::succeed(f.preference_create(&preference), "creating a preference");
  f.preference_set(preference, workspace_bytes, &library::kCallWorkspace, sizeof library::kCallWorkspace);
  const uint32_t right = alignment_of(p.right.data, p.right.batch_stride), left = alignment_of(p.left.data, p.left.batch_stride);
  const uint32_t target = alignment_of(p.target, p.target_batch_stride);
  f.preference_set(preference, a_alignment, &right, sizeof right);
  f.preference_set(preference, b_alignment, &left, sizeof left);
  f.preference_set(preference, c_alignment, &target, sizeof target);
  f.preference_set(preference, d_alignment, &target, sizeof target);
  library::Candidate candidate{};
  int found = 0;
  const library::Status status =
      f.candidates(library::session().handle, operation.get(), a.get(), b.get(), c.get(), c.get(), preference, 1, &candidate, &found);
  f.preference_destroy(preference);
  library::succeed(status, "choosing a float64 kernel");
  if (found == 0) throw Error("NATIVE_FAILED", "cuBLASLt has no kernel for a float64 product");
  return candidate.algorithm;
}

Shape shape_of(const DoubleMatrix& matrix, int64_t rows, int64_t cols, int64_t batches) {
  return matrix.transposed ? Shape(cols, rows, matrix.stride, batches, matrix.batch_stride)
                           : Shape(rows, cols, matrix.stride, batches, matrix.batch_stride);
}

}  // namespace

DoubleProducts::DoubleProducts() {
  if (library::functions() == nullptr) {
    throw Error("BACKEND_UNAVAILABLE", "quantizing on a CUDA device needs cuBLASLt for float64 products: " + cublaslt_absence());
  }
  workspace_ = DeviceMemory(library::kCallWorkspace, "the workspace of float64 products");
}

void DoubleProducts::multiply(const DoubleProduct& p, Stream stream) const {
  if (p.rows == 0 || p.cols == 0) return;
  Operation operation;
  // target^T [cols, rows] = right^T * left^T.
  if (p.right.transposed) operation.transpose(library::OperationAttribute::transpose_a);
  if (p.left.transposed) operation.transpose(library::OperationAttribute::transpose_b);
  const Shape a = shape_of(p.right, p.depth, p.cols, p.batches), b = shape_of(p.left, p.rows, p.depth, p.batches);
  const Shape c(p.rows, p.cols, p.target_stride, p.batches, p.target_batch_stride);
  const library::Algorithm algorithm = first_choice(p, operation, a, b, c);
  library::succeed(library::functions()->multiply(library::session().handle, operation.get(), &p.alpha, p.right.data, a.get(), p.left.data, b.get(),
                                                  &p.beta, p.target, c.get(), p.target, c.get(), &algorithm, workspace_.data(), workspace_.bytes(), stream),
                   "a float64 product");
}

void DoubleProducts::multiply_lower(const DoubleProduct& p, Stream stream) const {
  const auto from_row = [](DoubleMatrix left, int64_t row) {
    left.data += left.transposed ? row : row * left.stride;
    return left;
  };
  const auto from_column = [](DoubleMatrix right, int64_t column) {
    right.data += right.transposed ? column * right.stride : column;
    return right;
  };
  for (int64_t start = 0; start < p.cols; start += kStripColumns) {
    DoubleProduct strip = p;
    strip.target += start * p.target_stride + start;
    strip.left = from_row(p.left, start);
    strip.right = from_column(p.right, start);
    strip.rows = p.rows - start;
    strip.cols = std::min(kStripColumns, p.cols - start);
    multiply(strip, stream);
  }
}

}  // namespace kvant::cuda::quantize
