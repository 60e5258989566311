#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

#include "aligned_storage.h"
#include "kernel_table.h"
#include "kvant/linear.h"
#include "pack_rows.h"
#include "packed_layout.h"
#include "prepare_activations.h"
#include "quantize_row.h"

namespace kvant {
namespace {

using linear::CodedRow;
using linear::LinearKernels;
using linear::PackedLayout;

// Rows packed by one thread at a time: a block, so that no two threads write the same line.
constexpr int64_t kPackGrain = kLinearBlock;

// Exact int32 sums: every partial sum is at most 128 * 127 * K, or 255 * 127 * K with codes of zero.
int64_t most_int8_columns(Scales scales) {
  return (int64_t{1} << 31) / ((scales == Scales::affine ? 255 : 128) * 127) - 1;
}

const char* weight_prefix(Format format) {
  switch (format) {
    case Format::fp32: return "fp32";
    case Format::bf16: return "bf16";
    case Format::fp16: return "fp16";
    case Format::int8: return "int8";
    case Format::int4: return "int4";
    case Format::e4m3: return "e4m3";
    case Format::e5m2: return "e5m2";
    case Format::e2m1: return "fp4";
  }
  return "?";
}

// Name of a weight format as in packages/formats, e.g. int4-g32.
std::string weight_name(const MatrixSpec& spec) {
  const std::string prefix = weight_prefix(spec.format);
  if (bits(spec.format) > 8) return prefix;
  if (spec.scales == Scales::e8m0) return "mx" + prefix;
  if (spec.scales == Scales::e4m3) return "nv" + prefix;
  const std::string suffix = spec.scales == Scales::affine ? "-affine" : "";
  if (spec.group_size == -1) return prefix + "-channel" + suffix;
  if (spec.group_size == -2) return prefix + "-tensor" + suffix;
  return prefix + "-g" + std::to_string(spec.group_size) + suffix;
}

std::string scheme_name(const MatrixSpec& spec) {
  return weight_name(spec) + " x " + weight_prefix(spec.activation);
}

class PackedMatrix final : public Matrix {
 public:
  PackedMatrix(const MatrixSpec& spec, Tier tier, const LinearKernels& kernels, linear::RunLinear run)
      : Matrix(spec), layout_(spec), kernels_(kernels), run_(run), tier_(tier),
        weights_(layout_.block_bytes * static_cast<size_t>(layout_.block_count)) {}

  void load_rows(int64_t row_offset, int64_t rows, Format dtype, const void* source, ThreadPool& pool) override {
    check_rows("load_rows", row_offset, rows);
    if (dtype != Format::fp32 && dtype != Format::bf16 && dtype != Format::fp16) {
      throw std::invalid_argument(std::string("load_rows: a source of ") + weight_prefix(dtype) +
                                  "; it must be fp32, bf16 or fp16");
    }
    const size_t row_bytes = static_cast<size_t>(layout_.cols) * bits(dtype) / 8;
    const uint8_t* from = static_cast<const uint8_t*>(source);
    const int64_t threads = pool.threads();
    std::vector<float> widened(static_cast<size_t>(threads * layout_.cols));
    std::vector<CodedRow> coded(static_cast<size_t>(threads), CodedRow(layout_));
    float tensor_scale = -1.0f;
    if (spec_.group_size == -2 || spec_.scales == Scales::e4m3) {
      tensor_scale = tensor_absmax(rows, dtype, from, row_bytes, widened, pool) / max_value(spec_.format);
    }
    if (spec_.scales == Scales::e4m3) tensor_scale /= max_value(Format::e4m3);
    for_each_row(row_offset, rows, pool, [&](int64_t row, int thread) {
      float* const values = widened.data() + thread * layout_.cols;
      linear::widen(dtype, from + static_cast<size_t>(row - row_offset) * row_bytes, layout_.cols, values);
      if (bits(spec_.format) > 8) return linear::pack_float_row(layout_, spec_.format, values, row, weights_.data());
      CodedRow& codes = coded[static_cast<size_t>(thread)];
      linear::quantize_row(layout_, spec_, kernels_, values, tensor_scale, codes);
      linear::pack_row(layout_, spec_.format, spec_.scales, codes, tensor_scale, row, weights_.data());
    });
  }

  void load_codes(int64_t row_offset, const CodedRows& source, ThreadPool& pool) override {
    check_rows("load_codes", row_offset, source.rows);
    if (bits(spec_.format) > 8) throw std::invalid_argument("load_codes: " + weight_name(spec_) + " weights are no codes with scales");
    std::vector<CodedRow> coded(static_cast<size_t>(pool.threads()), CodedRow(layout_));
    for_each_row(row_offset, source.rows, pool, [&](int64_t row, int thread) {
      CodedRow& codes = coded[static_cast<size_t>(thread)];
      linear::read_row(layout_, spec_, source, row - row_offset, codes);
      linear::pack_row(layout_, spec_.format, spec_.scales, codes, source.tensor_scale, row, weights_.data());
    });
  }

  size_t bytes() const override { return weights_.size(); }

  std::string variant() const override {
    return "linear_" + weight_name(spec_) + "_" + weight_prefix(spec_.activation) + "_" + tier_name(tier_);
  }

  size_t prepared_bytes(int64_t tokens) const override {
    return linear::PreparedLayout(layout_, spec_.activation, tokens).bytes;
  }

  void prepare(const float* x, int64_t ldx, int64_t tokens, int64_t begin, int64_t end, void* prepared) const override {
    linear::prepare_activations(layout_, spec_.activation, spec_.activation_scale, kernels_, x, ldx, tokens, begin, end,
                                static_cast<uint8_t*>(prepared));
  }

  void run(const void* prepared, int64_t tokens, const float* bias, float* y, int64_t ldy, int64_t block_begin,
           int64_t block_end) const override {
    const linear::PreparedLayout parts(layout_, spec_.activation, tokens);
    const uint8_t* base = static_cast<const uint8_t*>(prepared);
    run_(layout_, {.weights = weights_.data(),
                   .x = base,
                   .x_scales = reinterpret_cast<const float*>(base + parts.scales),
                   .x_sums = reinterpret_cast<const int32_t*>(base + parts.sums),
                   .bias = bias,
                   .y = y,
                   .tokens = tokens,
                   .ldy = ldy,
                   .block_begin = block_begin,
                   .block_end = block_end});
  }

 protected:
  int64_t blocks_together(int64_t tokens) const override {
    return spec_.activation == Format::int8 && tokens >= kernels_.widest_int8_tile ? kernels_.widest_int8_blocks : 1;
  }

 private:
  void check_rows(const char* call, int64_t row_offset, int64_t rows) const {
    if (row_offset >= 0 && rows >= 0 && row_offset + rows <= spec_.rows) return;
    throw std::invalid_argument(std::string(call) + ": rows " + std::to_string(row_offset) + " to " +
                                std::to_string(row_offset + rows) + " of a matrix of " + std::to_string(spec_.rows));
  }

  // body(row, thread) for rows [row_offset, row_offset + rows). Threads take whole blocks; the first may begin inside one that an
  // earlier part shares.
  template <class Body>
  void for_each_row(int64_t row_offset, int64_t rows, ThreadPool& pool, const Body& body) const {
    const int64_t first_block = row_offset / kPackGrain;
    const int64_t blocks = (row_offset + rows + kPackGrain - 1) / kPackGrain - first_block;
    pool.parallel_for(blocks, 1, [&](int64_t begin, int64_t end, int thread) {
      const int64_t first = std::max(row_offset, (first_block + begin) * kPackGrain);
      const int64_t last = std::min(row_offset + rows, (first_block + end) * kPackGrain);
      for (int64_t row = first; row < last; row++) body(row, thread);
    });
  }

  float tensor_absmax(int64_t rows, Format dtype, const uint8_t* from, size_t row_bytes, std::vector<float>& widened,
                      ThreadPool& pool) const {
    std::vector<float> largest(static_cast<size_t>(pool.threads()), 0.0f);
    pool.parallel_for(rows, kPackGrain, [&](int64_t begin, int64_t end, int thread) {
      float* values = widened.data() + thread * layout_.cols;
      float& most = largest[static_cast<size_t>(thread)];
      for (int64_t row = begin; row < end; row++) {
        linear::widen(dtype, from + static_cast<size_t>(row) * row_bytes, layout_.cols, values);
        most = std::max(most, kernels_.absmax(values, layout_.cols));
      }
    });
    return *std::max_element(largest.begin(), largest.end());
  }

  PackedLayout layout_;
  const LinearKernels& kernels_;
  linear::RunLinear run_;
  Tier tier_;
  linear::AlignedStorage weights_;
};

}  // namespace

std::unique_ptr<Matrix> make_matrix(const MatrixSpec& spec, Tier tier) {
  if (spec.rows <= 0 || spec.cols <= 0) {
    throw std::invalid_argument("linear: a matrix of " + std::to_string(spec.rows) + " x " + std::to_string(spec.cols) +
                                "; both must be positive");
  }
  const bool scaled = bits(spec.format) <= 8;
  if (scaled != (spec.group_size != 0) || spec.group_size < -2) {
    throw std::invalid_argument(std::string("linear: ") + weight_prefix(spec.format) + " weights with group size " +
                                std::to_string(spec.group_size) +
                                (scaled ? "; it must be -1, -2 or positive" : "; it must be 0"));
  }
  if (spec.activation == Format::e4m3) throw std::invalid_argument("linear: no kernel for " + scheme_name(spec) + " on cpu");
  if (!(spec.activation_scale >= 0) || spec.activation_scale > max_value(Format::fp32) ||
      (spec.activation_scale > 0 && spec.activation != Format::int8)) {
    throw std::invalid_argument("linear: " + scheme_name(spec) + " with activation scale " +
                                std::to_string(spec.activation_scale) + "; only int8 takes one, finite and positive");
  }
  const int block = spec.scales == Scales::e8m0 ? 32 : spec.scales == Scales::e4m3 ? 16 : 0;
  if ((block != 0 && spec.group_size != block) || (spec.scales == Scales::affine && spec.group_size == -2)) {
    throw std::invalid_argument("linear: " + scheme_name(spec) + " with group size " + std::to_string(spec.group_size) +
                                (block != 0 ? "; it is always " + std::to_string(block) : "; zero points are per row or group"));
  }
  const LinearKernels& kernels = linear::linear_kernels(tier);
  const linear::Products& products = kernels.products[static_cast<int>(spec.scales)];
  linear::RunLinear run = nullptr;
  switch (spec.activation) {
    case Format::fp32:
    case Format::bf16:
    case Format::fp16: run = products.float_activations[static_cast<int>(spec.format)]; break;
    case Format::int8: run = products.int8_activations[static_cast<int>(spec.format)]; break;
    default: break;
  }
  if (run == nullptr) {
    throw std::invalid_argument("linear: no kernel for " + scheme_name(spec) + " in tier " + tier_name(tier));
  }
  if (spec.activation == Format::int8 && spec.cols > most_int8_columns(spec.scales)) {
    throw std::invalid_argument("linear: " + scheme_name(spec) + " over " + std::to_string(spec.cols) +
                                " columns; int32 sums hold " + std::to_string(most_int8_columns(spec.scales)));
  }
  return std::make_unique<PackedMatrix>(spec, tier, kernels, run);
}

}  // namespace kvant
