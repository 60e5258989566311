// U with U^T U = (H + damping * mean * I)^-1, upper triangular. With J reversing the order of rows and J H J = L L^T, U = J L^-1 J
// (packages/quantizers/src/linear-algebra/inverse-cholesky.ts).
//
// L^-1 takes the place of the matrix without L ever being there as a whole. Of a matrix cut into halves, with X = L^-1:
//   X11 = inverse factor of A11
//   L21 = A21 X11^T,  A22 = A22 - L21 L21^T
//   X22 = inverse factor of A22
//   X21 = -X22 L21 X11
// down to tiles of 64, which one block factors and inverts in shared memory. Products with the triangles X do twice the work that
// they need, n^3 * 7 / 6 multiply-adds in all, and all of it at the rate of large products: that is sooner than solving triangles.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "cuda/check.h"
#include "inverse_factor.h"

namespace kvant::cuda::quantize {
namespace {

constexpr int kTile = 64;
constexpr int kTileThreads = 256;
constexpr int kSide = 16;  // of the threads as a square

// As in TypeScript: from 0.01 these reach 1e4 times the mean diagonal.
constexpr int kMostRaises = 6;
constexpr double kSmallestRaisedDamping = 1e-6;

// a [n, n], n <= kTile: the lower triangle becomes the inverse of its Cholesky factor, zeros above. A pivot that is not positive and
// finite sets *failed.
__global__ void __launch_bounds__(kTileThreads) tile_kernel(double* a, int64_t stride, int n, int* failed) {
  // L below the diagonal; its inverse as a transpose above, X[i, j] at [j][i + 1].
  __shared__ double l[kTile][kTile + 1];
  const int tx = threadIdx.x % kSide, ty = threadIdx.x / kSide;
  for (int i = ty; i < n; i += kSide) {
    for (int j = tx; j <= i; j += kSide) l[i][j] = a[i * stride + j];
  }
  for (int k = 0; k < n; k++) {
    __syncthreads();
    const double pivot = l[k][k];
    if (!(pivot > 0 && pivot < INFINITY)) {
      if (threadIdx.x == 0) *failed = 1;
      return;
    }
    const double root = sqrt(pivot);
    __syncthreads();
    for (int i = k + threadIdx.x; i < n; i += kTileThreads) l[i][k] = i == k ? root : l[i][k] / root;
    __syncthreads();
    for (int i = k + 1 + ty; i < n; i += kSide) {
      for (int j = k + 1 + tx; j <= i; j += kSide) l[i][j] -= l[i][k] * l[j][k];
    }
  }
  __syncthreads();
  // A thread per column of the inverse.
  if (threadIdx.x < n) {
    const int j = threadIdx.x;
    l[j][j + 1] = 1 / l[j][j];
    for (int i = j + 1; i < n; i++) {
      double sum = 0;
      for (int k = j; k < i; k++) sum += l[i][k] * l[j][k + 1];
      l[j][i + 1] = -sum / l[i][i];
    }
  }
  __syncthreads();
  for (int i = ty; i < n; i += kSide) {
    for (int j = tx; j < n; j += kSide) a[i * stride + j] = j <= i ? l[j][i + 1] : 0;
  }
}

// to[i, j] = H[order[n - 1 - i], order[n - 1 - j]] + (i == j) * shift, the diagonal of dead columns being 1 before.
__global__ void take_kernel(const double* gram, const int32_t* order, const uint8_t* dead, int64_t n, double shift, double* to) {
  const int64_t row = blockIdx.y, col = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (col >= n) return;
  const int64_t i = n - 1 - row, j = n - 1 - col;
  double value = gram[(order == nullptr ? i : order[i]) * n + (order == nullptr ? j : order[j])];
  if (i == j) value = (dead[i] != 0 ? 1.0 : value) + shift;
  to[row * n + col] = value;
}

// J A J of a matrix is its elements in reverse.
__global__ void reverse_kernel(double* values, int64_t count) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; at < count / 2; at += stride) {
    const double first = values[at];
    values[at] = values[count - 1 - at];
    values[count - 1 - at] = first;
  }
}

class Inversion {
 public:
  Inversion(int64_t n, const DoubleProducts& products, Stream stream)
      : stride_(n),
        products_(products),
        stream_(stream),
        scratch_(static_cast<size_t>(most_scratch(n)) * sizeof(double), "half of a Hessian"),
        failed_(sizeof(int), "the state of a factorization") {}

  // False, with `a` spoilt, where a pivot is not positive.
  bool run(double* a) {
    check(cudaMemsetAsync(failed_.data(), 0, sizeof(int), stream_), "a factorization");
    invert(a, stride_);
    int failed = 0;
    check(cudaMemcpyAsync(&failed, failed_.data(), sizeof failed, cudaMemcpyDeviceToHost, stream_), "a factorization");
    check(cudaStreamSynchronize(stream_), "factoring a Hessian");
    return failed == 0;
  }

 private:
  // Of whole tiles, and no less than what is left: both halves then fit where L21 lies for a while.
  static int64_t half(int64_t n) { return n <= kTile ? n : (n / 2 + kTile - 1) / kTile * kTile; }

  // Elements of the largest product on the way; halves of whole tiles may be so uneven that it is not the first.
  static int64_t most_scratch(int64_t n) {
    if (n <= kTile) return 0;
    const int64_t top = half(n), bottom = n - top;
    return std::max({top * bottom, most_scratch(top), most_scratch(bottom)});
  }

  void invert(double* a11, int64_t n) {
    if (n <= kTile) {
      tile_kernel<<<1, kTileThreads, 0, stream_>>>(a11, stride_, static_cast<int>(n), failed_.as<int>());
      return check_launch("factoring a tile");
    }
    const int64_t top = half(n), bottom = n - top;
    double* const a12 = a11 + top;
    double* const a21 = a11 + top * stride_;
    double* const a22 = a21 + top;
    double* const product = scratch_.as<double>();
    invert(a11, top);
    // L21^T lies above the diagonal until X21 is there.
    products_.multiply({.target = a12, .target_stride = stride_, .left = {a11, stride_}, .right = {a21, stride_, true}, .rows = top, .cols = bottom, .depth = top}, stream_);
    products_.multiply_lower({.target = a22, .target_stride = stride_, .left = {a12, stride_, true}, .right = {a12, stride_}, .rows = bottom, .cols = bottom, .depth = top, .alpha = -1, .beta = 1}, stream_);
    invert(a22, bottom);
    products_.multiply({.target = product, .target_stride = top, .left = {a12, stride_, true}, .right = {a11, stride_}, .rows = bottom, .cols = top, .depth = top}, stream_);
    products_.multiply({.target = a21, .target_stride = stride_, .left = {a22, stride_}, .right = {product, top}, .rows = bottom, .cols = top, .depth = bottom, .alpha = -1}, stream_);
    check(cudaMemset2DAsync(a12, static_cast<size_t>(stride_) * sizeof(double), 0, static_cast<size_t>(bottom) * sizeof(double), static_cast<size_t>(top), stream_),
          "clearing above a diagonal");
  }

  int64_t stride_;
  const DoubleProducts& products_;
  Stream stream_;
  DeviceMemory scratch_, failed_;
};

std::vector<double> read_diagonal(const double* gram, int64_t n, Stream stream) {
  std::vector<double> diagonal(static_cast<size_t>(n));
  check(cudaMemcpy2DAsync(diagonal.data(), sizeof(double), gram, static_cast<size_t>(n + 1) * sizeof(double), sizeof(double), static_cast<size_t>(n),
                          cudaMemcpyDeviceToHost, stream),
        "reading a diagonal");
  check(cudaStreamSynchronize(stream), "reading a diagonal");
  return diagonal;
}

template <class Value>
DeviceMemory upload(const std::vector<Value>& values, const char* purpose, Stream stream) {
  DeviceMemory memory(values.size() * sizeof(Value), purpose);
  if (!values.empty()) {
    check(cudaMemcpyAsync(memory.data(), values.data(), memory.bytes(), cudaMemcpyHostToDevice, stream), purpose);
    check(cudaStreamSynchronize(stream), purpose);
  }
  return memory;
}

}  // namespace

InverseFactor factor_inverse(const double* gram, int64_t n, double damping, bool act_order, const DoubleProducts& products, Stream stream) {
  if (!(damping >= 0 && damping < INFINITY)) {
    throw invalid("damping is a fraction of the mean diagonal, not " + std::to_string(damping));
  }
  const std::vector<double> diagonal = read_diagonal(gram, n, stream);
  std::vector<int32_t> order;
  if (act_order) {
    order.resize(static_cast<size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return diagonal[static_cast<size_t>(a)] > diagonal[static_cast<size_t>(b)]; });
  }
  std::vector<uint8_t> dead(static_cast<size_t>(n));
  double sum = 0;
  for (int64_t place = 0; place < n; place++) {
    const auto column = static_cast<size_t>(act_order ? order[static_cast<size_t>(place)] : place);
    const double entry = diagonal[column];
    if (!(entry >= 0 && entry < INFINITY)) {
      throw invalid("diagonal element " + std::to_string(column) + " of the Hessian is " + std::to_string(entry));
    }
    dead[static_cast<size_t>(place)] = entry == 0 ? 1 : 0;
    sum += entry;
  }
  InverseFactor factor;
  factor.dead_columns = std::count(dead.begin(), dead.end(), uint8_t{1});
  const double mean = factor.dead_columns == n ? 1 : sum / static_cast<double>(n - factor.dead_columns);
  factor.order = upload(order, "the order of columns", stream);
  factor.dead = upload(dead, "dead columns", stream);
  factor.upper = DeviceMemory(static_cast<size_t>(n * n) * sizeof(double), "the factor of a Hessian");
  factor.damping = damping;

  Inversion inversion(n, products, stream);
  double* const upper = factor.upper.as<double>();
  for (int raises = 0; raises <= kMostRaises; raises++) {
    take_kernel<<<dim3(static_cast<unsigned>((n + 255) / 256), static_cast<unsigned>(n)), 256, 0, stream>>>(
        gram, act_order ? factor.order.as<int32_t>() : nullptr, factor.dead.as<uint8_t>(), n, factor.damping * mean, upper);
    check_launch("damping a Hessian");
    if (inversion.run(upper)) {
      reverse_kernel<<<4096, 256, 0, stream>>>(upper, n * n);
      check_launch("reversing a factor");
      return factor;
    }
    factor.damping = std::max(factor.damping * 10, kSmallestRaisedDamping);
  }
  throw invalid("the Hessian [" + std::to_string(n) + ", " + std::to_string(n) + "] is not positive definite even with " +
                std::to_string(factor.damping / 10) + " of its mean diagonal added");
}

}  // namespace kvant::cuda::quantize
