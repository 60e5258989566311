#include <algorithm>
#include <limits>

#include "calibration.h"
#include "round_columns.h"

namespace kvant::cuda::quantize {
namespace {

void copy_to_host(void* to, const DeviceMemory& from, size_t bytes, Stream stream) {
  if (bytes > 0 && to != nullptr) check(cudaMemcpyAsync(to, from.data(), bytes, cudaMemcpyDeviceToHost, stream), "reading a quantized matrix");
}

}  // namespace

GptqFigures Calibration::quantize_gptq(const GridMatrix& matrix, const GptqRequest& request, const CodedMatrix& to) {
  const double* const gram = this->gram();
  if (request.act_order && !request.static_scales) throw invalid("GPTQ with actOrder needs static groups");
  Uploaded w = upload(matrix);
  const InverseFactor& factor = this->factor(request);
  GptqFigures figures;
  figures.tensor_scale = w.grid.tensor_scale;
  figures.damping = factor.damping;
  figures.dead_columns = factor.dead_columns;

  const ScaleMemory nearest_scales(w.scale_count), scales(w.scale_count);
  nearest_scales_of(w, nullptr, nearest_scales);
  copy(scales, nearest_scales);
  const DeviceMemory nearest(bytes_of(w.elements(), sizeof(float)), "rounded weights"), rounded(nearest.bytes(), "rounded weights");
  DeviceMemory errors(bytes_of(w.elements(), sizeof(double)), "errors of weights");
  const DeviceMemory before(bytes_of(w.rows, sizeof(double)), "output errors"), after(before.bytes(), "output errors");
  const ScaledValues values{w.values.as<float>(), nullptr};
  round_values(w.grid, values, w.rows, w.cols, nearest_scales.view(), {nearest.as<float>(), errors.as<double>()}, stream_.get());
  sum_output_errors(gram, errors.as<double>(), w.rows, before.as<double>());

  errors = DeviceMemory();  // the pass needs as much itself
  round_columns({values.values, w.rows, w.cols, factor, w.grid, scales.view(), request.static_scales, rounded.as<float>()}, *products_, stream_.get());
  errors = DeviceMemory(bytes_of(w.elements(), sizeof(double)), "errors of weights");
  subtract(values.values, rounded.as<float>(), w.elements(), errors.as<double>(), stream_.get());
  sum_output_errors(gram, errors.as<double>(), w.rows, after.as<double>());

  const DeviceMemory worse(static_cast<size_t>(w.rows), "rows that got worse");
  keep_better_rows(w.grid,
                   {.nearest = before.as<double>(),
                    .own = after.as<double>(),
                    .worse = worse.as<uint8_t>(),
                    .values = rounded.as<float>(),
                    .other = nearest.as<float>(),
                    .scales = scales.view(),
                    .other_scales = nearest_scales.view(),
                    .shrinks = nullptr},
                   w.rows, w.cols, stream_.get());
  finish(w, rounded, scales, to);
  figures.nearest = download(before.as<double>(), w.rows, stream_.get());
  figures.own = download(after.as<double>(), w.rows, stream_.get());
  for (uint8_t each : download(worse.as<uint8_t>(), w.rows, stream_.get())) figures.kept_rows += each;
  return figures;
}

std::vector<double> Calibration::awq_losses(const GridMatrix& matrix, const float* candidates, int64_t count) {
  const double* const gram = this->gram();
  Uploaded w = upload(matrix);
  const ScaleMemory scales(w.scale_count);
  const DeviceMemory errors(bytes_of(w.elements(), sizeof(double)), "errors of weights"), sums(bytes_of(w.rows, sizeof(double)), "output errors");
  DeviceMemory columns(bytes_of(w.cols, sizeof(float)), "factors of columns");
  std::vector<double> losses;
  for (int64_t candidate = 0; candidate < count; candidate++) {
    check(cudaMemcpyAsync(columns.data(), candidates + candidate * w.cols, columns.bytes(), cudaMemcpyHostToDevice, stream_.get()), "factors of columns");
    const ScaledValues values{w.values.as<float>(), columns.as<float>()};
    nearest_scales_of(w, columns.as<float>(), scales);
    round_values(w.grid, values, w.rows, w.cols, scales.view(), {nullptr, errors.as<double>()}, stream_.get());
    sum_output_errors(gram, errors.as<double>(), w.rows, sums.as<double>());
    double loss = 0;
    for (double each : download(sums.as<double>(), w.rows, stream_.get())) loss += each;
    losses.push_back(loss);
  }
  return losses;
}

ClipFigures Calibration::awq_clip(const GridMatrix& matrix, const ClipRequest& request, const CodedMatrix& to) {
  const double* const gram = this->gram();
  Uploaded w = upload(matrix);
  const ScaledValues values{w.values.as<float>(), nullptr};
  const bool is_tensor = w.grid.row_scales == 0;
  const ScaleMemory full(w.scale_count), trial(w.scale_count), chosen(w.scale_count);
  const DeviceMemory errors(bytes_of(w.elements(), sizeof(double)), "errors of weights");
  const int64_t sum_count = is_tensor ? w.rows : w.scale_count;
  const DeviceMemory sums(bytes_of(sum_count, sizeof(double)), "output errors"), least(bytes_of(w.scale_count, sizeof(double)), "output errors");
  const DeviceMemory shrinks(bytes_of(w.scale_count, sizeof(float)), "parts of ranges");
  const DeviceMemory before(bytes_of(w.rows, sizeof(double)), "output errors"), after(before.bytes(), "output errors");
  const DeviceMemory ranges = find_group_ranges(w, nullptr);
  const std::vector<double> infinities(static_cast<size_t>(w.scale_count), std::numeric_limits<double>::infinity());
  check(cudaMemcpyAsync(least.data(), infinities.data(), least.bytes(), cudaMemcpyHostToDevice, stream_.get()), "output errors");
  ClipFigures figures;
  figures.tensor_scale = w.grid.tensor_scale;
  for (float shrink : request.shrinks) {
    choose_scales(w.grid, ranges.as<ValueRange>(), w.scale_count, shrink, trial.view(), stream_.get());
    round_values(w.grid, values, w.rows, w.cols, trial.view(), {nullptr, errors.as<double>()}, stream_.get());
    const BestShrink best{least.as<double>(), shrinks.as<float>(), chosen.view()};
    if (is_tensor) {
      sum_output_errors(gram, errors.as<double>(), w.rows, sums.as<double>());
      double loss = 0;
      for (double each : download(sums.as<double>(), w.rows, stream_.get())) loss += each;
      check(cudaMemcpyAsync(sums.data(), &loss, sizeof loss, cudaMemcpyHostToDevice, stream_.get()), "output errors");
      check(cudaStreamSynchronize(stream_.get()), "output errors");
    } else {
      sum_group_errors(gram, w, errors.as<double>(), sums.as<double>());
    }
    take_better(sums.as<double>(), trial.view(), shrink, w.scale_count, best, stream_.get());
  }

  // What groups of a row do to each other was left out, so that a row whose whole error has grown keeps its full ranges.
  choose_scales(w.grid, ranges.as<ValueRange>(), w.scale_count, 1, full.view(), stream_.get());
  round_values(w.grid, values, w.rows, w.cols, full.view(), {nullptr, errors.as<double>()}, stream_.get());
  sum_output_errors(gram, errors.as<double>(), w.rows, before.as<double>());
  round_values(w.grid, values, w.rows, w.cols, chosen.view(), {nullptr, errors.as<double>()}, stream_.get());
  sum_output_errors(gram, errors.as<double>(), w.rows, after.as<double>());
  if (!is_tensor) {
    const DeviceMemory worse(static_cast<size_t>(w.rows), "rows that got worse");
    keep_better_rows(w.grid,
                     {.nearest = before.as<double>(),
                      .own = after.as<double>(),
                      .worse = worse.as<uint8_t>(),
                      .values = nullptr,
                      .other = nullptr,
                      .scales = chosen.view(),
                      .other_scales = full.view(),
                      .shrinks = shrinks.as<float>()},
                     w.rows, w.cols, stream_.get());
  }
  const DeviceMemory restored(bytes_of(w.elements(), sizeof(float)), "rounded weights");
  round_values(w.grid, values, w.rows, w.cols, chosen.view(), {restored.as<float>(), nullptr}, stream_.get());
  finish(w, restored, chosen, to);
  figures.shrinks = download(shrinks.as<float>(), w.scale_count, stream_.get());
  figures.nearest = download(before.as<double>(), w.rows, stream_.get());
  figures.own = download(after.as<double>(), w.rows, stream_.get());
  return figures;
}

std::vector<double> Calibration::output_errors(const float* values, const float* rounded, int64_t rows) {
  const double* const gram = this->gram();
  const int64_t elements = rows * width();
  const DeviceMemory a = upload_values(values, elements), b = upload_values(rounded, rounded == nullptr ? 0 : elements);
  const DeviceMemory errors(bytes_of(elements, sizeof(double)), "errors of weights"), sums(bytes_of(rows, sizeof(double)), "output errors");
  subtract(a.as<float>(), rounded == nullptr ? nullptr : b.as<float>(), elements, errors.as<double>(), stream_.get());
  sum_output_errors(gram, errors.as<double>(), rows, sums.as<double>());
  return download(sums.as<double>(), rows, stream_.get());
}

Uploaded Calibration::upload(const GridMatrix& matrix) const {
  Grid grid = grid_of(matrix.grid, width());
  Uploaded w{upload_values(matrix.values, matrix.rows * width()), matrix.rows, width(), grid.scale_count(matrix.rows, width()), grid};
  // The scale of scales belongs to the matrix before anything moves in it.
  if (grid.scale_kind == Grid::ScaleKind::e4m3) w.grid.tensor_scale = tensor_scale_of(grid, largest_of(find_group_ranges(w, nullptr), w));
  return w;
}

DeviceMemory Calibration::find_group_ranges(const Uploaded& w, const float* columns) const {
  const int64_t count = w.rows * w.grid.groups(w.cols);
  DeviceMemory ranges(bytes_of(count, sizeof(ValueRange)), "ranges of weights");
  find_ranges({w.values.as<float>(), columns}, w.rows, w.cols, w.grid.group_cols, ranges.as<ValueRange>(), stream_.get());
  if (w.grid.row_scales != 0) return ranges;
  DeviceMemory total(sizeof(ValueRange), "the range of all weights");
  join_ranges(ranges.as<ValueRange>(), count, total.as<ValueRange>(), stream_.get());
  check(cudaStreamSynchronize(stream_.get()), "ranges of weights");
  return total;
}

float Calibration::largest_of(const DeviceMemory& ranges, const Uploaded& w) const {
  DeviceMemory total(sizeof(ValueRange), "the range of all weights");
  join_ranges(ranges.as<ValueRange>(), w.scale_count, total.as<ValueRange>(), stream_.get());
  const ValueRange range = download(total.as<ValueRange>(), 1, stream_.get()).front();
  return std::max(-range.low, range.high);
}

void Calibration::nearest_scales_of(Uploaded& w, const float* columns, const ScaleMemory& to) const {
  const DeviceMemory ranges = find_group_ranges(w, columns);
  if (columns != nullptr && w.grid.scale_kind == Grid::ScaleKind::e4m3) w.grid.tensor_scale = tensor_scale_of(w.grid, largest_of(ranges, w));
  choose_scales(w.grid, ranges.as<ValueRange>(), w.scale_count, 1, to.view(), stream_.get());
  check(cudaStreamSynchronize(stream_.get()), "scales of weights");
}

void Calibration::copy(const ScaleMemory& to, const ScaleMemory& from) const {
  check(cudaMemcpyAsync(to.scales.data(), from.scales.data(), to.scales.bytes(), cudaMemcpyDeviceToDevice, stream_.get()), "scales");
  check(cudaMemcpyAsync(to.zeros.data(), from.zeros.data(), to.zeros.bytes(), cudaMemcpyDeviceToDevice, stream_.get()), "zero points");
}

double* Calibration::product_scratch(int64_t count) {
  const size_t bytes = bytes_of(count, sizeof(double));
  if (scratch_.bytes() < bytes) scratch_ = DeviceMemory(bytes, "products of errors");
  return scratch_.as<double>();
}

void Calibration::sum_output_errors(const double* gram, const double* errors, int64_t rows, double* sums) {
  double* const products = product_scratch(rows * width());
  products_->multiply({.target = products,
                       .target_stride = width(),
                       .left = {errors, width()},
                       .right = {gram, width()},
                       .rows = rows,
                       .cols = width(),
                       .depth = width()},
                      stream_.get());
  dot_groups(products, errors, rows, width(), width(), sums, stream_.get());
}

void Calibration::sum_group_errors(const double* gram, const Uploaded& w, const double* errors, double* sums) {
  double* const products = product_scratch(w.elements());
  const int64_t group_cols = w.grid.group_cols, whole = w.cols / group_cols, rest = w.cols % group_cols;
  DoubleProduct product{.target = products,
                        .target_stride = w.cols,
                        .left = {errors, w.cols, false, group_cols},
                        .right = {gram, w.cols, false, group_cols * (w.cols + 1)},
                        .rows = w.rows,
                        .cols = group_cols,
                        .depth = group_cols,
                        .batches = whole,
                        .target_batch_stride = group_cols};
  if (whole > 0) products_->multiply(product, stream_.get());
  if (rest > 0) {
    const int64_t first = whole * group_cols;
    product.target += first;
    product.left.data += first;
    product.right.data += first * (w.cols + 1);
    product.cols = product.depth = rest;
    product.batches = 1;
    products_->multiply(product, stream_.get());
  }
  dot_groups(products, errors, w.rows, w.cols, group_cols, sums, stream_.get());
}

void Calibration::finish(const Uploaded& w, const DeviceMemory& values, const ScaleMemory& scales, const CodedMatrix& to) const {
  const DeviceMemory codes(bytes_of(w.rows * w.grid.row_bytes(w.cols), 1), "codes");
  encode_values(w.grid, values.as<float>(), w.rows, w.cols, scales.view(), codes.as<uint8_t>(), stream_.get());
  copy_to_host(to.codes, codes, codes.bytes(), stream_.get());
  copy_to_host(to.scales, scales.scales, scales.scales.bytes(), stream_.get());
  copy_to_host(to.zeros, scales.zeros, scales.zeros.bytes(), stream_.get());
  copy_to_host(to.restored, values, values.bytes(), stream_.get());
  check(cudaStreamSynchronize(stream_.get()), "reading a quantized matrix");
}

}  // namespace kvant::cuda::quantize
