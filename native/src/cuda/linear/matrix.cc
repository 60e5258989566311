// Matrices on the device: which kernel serves which scheme and number of tokens.
//
//   operand of the product        activations            weights
//   fp32 (multiply-adds)          fp32; bf16, fp16       any; those of another width or 16-bit format
//   bf16, fp16 (tensor cores)     bf16, fp16             the same format, or 8 and 4 bits
//   fp16 (tensor cores)           e4m3 (exact in fp16)   8 and 4 bits
//   fp16 (tensor cores)           bf16, not many tokens  e4m3, e5m2
//   int8 (tensor cores)           int8                   int8, int4
//
// Few tokens, and always when deterministic: `stream` (`fp32` for that operand), batch-invariant. From kWarpgroupTokens on:
// `warpgroup-split` where the device has it, above kMostSplitTokens `warpgroup`; else above kMostStreamTokens `tiles`. Their blocks may share
// columns, as the number of tokens asks for. `stream` and `warpgroup-split` are bound by the decoding of 8-bit floats to
// bf16, which takes five instructions for two of them, to fp16 one: so there bf16 activations come as fp16 numbers over a power of two
// per token (prepare_row.cuh), and nowhere else, since then they need a largest magnitude. Many: cuBLASLt (library_product.h) where it
// is there and serves the scheme, also when deterministic if its sums are exact.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "../check.h"
#include "../device_memory.h"
#include "kvant/cuda/linear.h"
#include "layout.h"
#include "library_product.h"

namespace kvant::cuda {
namespace {

using linear::Call;
using linear::Layout;

constexpr int64_t kMostStreamTokens = 32;  // H100: `stream` takes 99 us for the products of a layer of int4 with 32 tokens, `tiles` 165 with 48
constexpr int64_t kWarpgroupTokens = 17;  // H100: `stream` takes 64 us for a layer's products of int4 with 16 tokens, `warpgroup-split` 76; 24: 90 and 78
// From where on cuBLASLt serves rather than these two. H100: with 64 tokens it takes 125 us with int8, 120 with e4m3, `warpgroup-split` 114
// and 117; with 128 149, 120, 147 and 168; int8 with 192, 256, 384, 512 and 1024 tokens 166, 189, 274, 313 and 490, `warpgroup` 176, 183,
// 236, 289 and 577.
constexpr int64_t kLibraryTokens = 65, kInt8LibraryTokens = 640;
constexpr int64_t kMostBlocks = 65535;                                    // of a launch in y, what tokens or rows may be
constexpr int64_t kMaxRows = kMostBlocks * linear::kBlockRows, kMaxColumns = int64_t{1} << 24;  // int in the kernels
constexpr int64_t kMaxTokens = kMostBlocks;                               // of one call
constexpr int kMaxSplits = 16;
constexpr int kMinChunksPerSplit = 4;

// Exact int32 sums, as on the CPU: every partial sum is at most 128 * 127 * K, or 255 * 127 * K with codes of zero.
int64_t most_int8_columns(Scales scales) { return (int64_t{1} << 31) / ((scales == Scales::affine ? 255 : 128) * 127) - 1; }

size_t align(size_t bytes) { return (bytes + 255) / 256 * 256; }

const char* prefix(Format format) {
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
  const std::string name = prefix(spec.format);
  if (bits(spec.format) > 8) return name;
  if (spec.scales == Scales::e8m0) return "mx" + name;
  if (spec.scales == Scales::e4m3) return "nv" + name;
  const std::string suffix = spec.scales == Scales::affine ? "-affine" : "";
  if (spec.group_size == -1) return name + "-channel" + suffix;
  if (spec.group_size == -2) return name + "-tensor" + suffix;
  return name + "-g" + std::to_string(spec.group_size) + suffix;
}

std::string scheme_name(const MatrixSpec& spec) { return weight_name(spec) + " x " + prefix(spec.activation); }

// Throws std::invalid_argument naming the scheme where there is no product.
Operand operand_of(const MatrixSpec& spec) {
  const bool coded = bits(spec.format) <= 8;
  switch (spec.activation) {
    case Format::fp32: return Operand::fp32;
    case Format::bf16: return coded || spec.format == Format::bf16 ? Operand::bf16 : Operand::fp32;
    case Format::fp16: return coded || spec.format == Format::fp16 ? Operand::fp16 : Operand::fp32;
    case Format::e4m3:
      if (coded) return Operand::fp16;
      break;
    case Format::int8:
      if (spec.format == Format::int8 || spec.format == Format::int4) return Operand::int8;
      break;
    default: break;
  }
  throw std::invalid_argument("linear: no kernel for " + scheme_name(spec) + " on cuda");
}

// Of `stream` and `warpgroup-split`, where the scheme has `operand`.
Operand few_operand_of(const MatrixSpec& spec, Operand operand) {
  const bool byte_floats = spec.format == Format::e4m3 || spec.format == Format::e5m2;
  return byte_floats && operand == Operand::bf16 ? Operand::fp16 : operand;
}

size_t operand_bytes(Operand operand) { return operand == Operand::fp32 ? 4 : operand == Operand::int8 ? 1 : 2; }

const MatrixSpec& checked(const MatrixSpec& spec) {
  if (spec.rows <= 0 || spec.cols <= 0 || spec.rows > kMaxRows || spec.cols > kMaxColumns) {
    throw std::invalid_argument("linear: a matrix of " + std::to_string(spec.rows) + " x " + std::to_string(spec.cols) +
                                "; rows must be from 1 to " + std::to_string(kMaxRows) + ", columns to " + std::to_string(kMaxColumns));
  }
  const bool scaled = bits(spec.format) <= 8;
  if (scaled != (spec.group_size != 0) || spec.group_size < -2) {
    throw std::invalid_argument(std::string("linear: ") + prefix(spec.format) + " weights with group size " +
                                std::to_string(spec.group_size) + (scaled ? "; it must be -1, -2 or positive" : "; it must be 0"));
  }
  const bool integers = spec.format == Format::int8 || spec.format == Format::int4;
  const bool held = spec.scales == Scales::fp32 || (spec.scales == Scales::affine ? integers : spec.format == Format::e2m1);
  if (!held) throw std::invalid_argument("linear: no kernel for " + scheme_name(spec) + " on cuda");
  const int block = spec.scales == Scales::e8m0 ? 32 : spec.scales == Scales::e4m3 ? 16 : 0;
  if ((block != 0 && spec.group_size != block) || (spec.scales == Scales::affine && spec.group_size == -2)) {
    throw std::invalid_argument("linear: " + scheme_name(spec) + " with group size " + std::to_string(spec.group_size) +
                                (block != 0 ? "; it is always " + std::to_string(block) : "; zero points are per row or group"));
  }
  const bool scaled_activation = spec.activation == Format::int8 || spec.activation == Format::e4m3;
  if (!(spec.activation_scale >= 0) || spec.activation_scale > max_value(Format::fp32) ||
      (spec.activation_scale > 0 && !scaled_activation)) {
    throw std::invalid_argument("linear: " + scheme_name(spec) + " with activation scale " + std::to_string(spec.activation_scale) +
                                "; only int8 and e4m3 take one, finite and positive");
  }
  if (spec.activation == Format::int8 && spec.cols > most_int8_columns(spec.scales)) {
    throw std::invalid_argument("linear: " + scheme_name(spec) + " over " + std::to_string(spec.cols) + " columns; int32 sums hold " +
                                std::to_string(most_int8_columns(spec.scales)));
  }
  return spec;
}

// Byte offsets in the workspace.
struct Workspace {
  size_t x_scales, parts, bytes;
};

class DeviceMatrix final : public CudaMatrix {
 public:
  DeviceMatrix(const MatrixSpec& spec, const CudaMatrixOptions& options)
      : CudaMatrix(checked(spec)),
        operand_(operand_of(spec)),
        few_operand_(few_operand_of(spec, operand_)),
        layout_(spec),
        tiles_(linear::find_product(spec.format, operand_).tiles),
        stream_(linear::find_product(spec.format, few_operand_).stream),
        library_(options.library && spec.scales == Scales::fp32 ? linear::library::LibraryProduct::make(layout_, spec.activation, operand_)
                                                                : nullptr),
        warpgroup_(linear::find_warpgroup_product(spec.format, spec.scales, operand_)),
        few_warpgroup_(linear::find_warpgroup_product(spec.format, spec.scales, few_operand_)),
        deterministic_(options.deterministic),
        codes_(layout_.code_bytes, weight_name(spec) + " weights"),
        scales_(layout_.scale_bytes + sizeof(uint32_t), weight_name(spec) + " scales") {
    int device = 0;
    check(cudaGetDevice(&device), "linear: current device");
    check(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, device), "linear: multiprocessors");
    if (library_ != nullptr) library_->tune(codes_.data());
  }

  void load_rows(int64_t row_offset, int64_t rows, Format dtype, const void* source, Stream stream) override {
    check_rows("load_rows", row_offset, rows);
    if (dtype != Format::fp32 && dtype != Format::bf16 && dtype != Format::fp16) {
      throw std::invalid_argument(std::string("load_rows: a source of ") + prefix(dtype) + "; it must be fp32, bf16 or fp16");
    }
    // The word behind the scales is scratch of this call; a stream runs calls one after the other.
    linear::load_weights(layout_, spec_.group_size, static_cast<int>(row_offset), static_cast<int>(rows), dtype, source,
                         codes_.as<uint8_t>(), scales_.as<uint8_t>(),
                         reinterpret_cast<uint32_t*>(scales_.as<uint8_t>() + layout_.scale_bytes), stream);
  }

  void load_codes(int64_t row_offset, const CodedRows& source, Stream stream) override {
    check_rows("load_codes", row_offset, source.rows);
    if (bits(spec_.format) > 8) throw std::invalid_argument("load_codes: " + weight_name(spec_) + " weights are no codes with scales");
    linear::load_codes(layout_, spec_.group_size, static_cast<int>(row_offset), source, codes_.as<uint8_t>(), scales_.as<uint8_t>(), stream);
  }

  size_t bytes() const override { return layout_.code_bytes + layout_.scale_bytes; }

  std::string variant(int64_t tokens) const override {
    const char* kernel = takes_library(tokens)   ? "cublaslt"
                         : takes_warpgroup(tokens) ? (takes_few(tokens) ? "warpgroup-split" : "warpgroup")
                         : operand_ == Operand::fp32 ? "fp32"
                         : takes_tiles(tokens)     ? "tiles"
                                                   : "stream";
    return "linear_" + weight_name(spec_) + "_" + prefix(spec_.activation) + "_cuda-" + kernel;
  }

  size_t workspace_bytes(int64_t max_tokens) const override { return workspace(max_tokens).bytes; }

  PreparedForm prepared_form(int64_t tokens) const override {
    return {.activation = spec_.activation,
            .operand = takes_few(tokens) ? few_operand_ : operand_,
            .codes = takes_library(tokens) && library_->takes_codes(),
            .paired = takes_warpgroup(tokens),
            .panel_rows = takes_panels(tokens) ? panel_rows(tokens) : 0,
            .interleaved = takes_interleaved(tokens),
            .static_scale = spec_.activation_scale,
            .cols = layout_.cols,
            .padded_cols = takes_panels(tokens) ? panel_cols() : layout_.padded_cols,
            .group_cols = layout_.group_cols,
            .group_stride = layout_.group_stride};
  }

  Prepared prepared_at(int64_t tokens, void* workspace_at) const override {
    uint8_t* const base = static_cast<uint8_t*>(workspace_at);
    return {base, reinterpret_cast<float*>(base + workspace(tokens).x_scales)};
  }

  void prepare(const float* x, int64_t tokens, void* workspace_at, Stream stream) const override {
    check_tokens(tokens);
    linear::prepare_activations(prepared_form(tokens), x, static_cast<int>(tokens), prepared_at(tokens, workspace_at), stream);
  }

  bool gives(Result result, int64_t tokens, bool has_bias) const override {
    if (result == Result::fp32) return true;
    if (deterministic_ || tokens < kManyTokens) return false;
    return takes_library(tokens) ? library_->gives(result, has_bias) : takes_warpgroup(tokens);
  }

  void multiply(int64_t tokens, const float* bias, const Destination& to, void* workspace_at, Stream stream) const override {
    check_tokens(tokens);
    if (!gives(to.result, tokens, bias != nullptr)) throw std::invalid_argument("linear: " + variant(tokens) + " leaves no such result");
    const PreparedForm form = prepared_form(tokens);
    const Prepared x = prepared_at(tokens, workspace_at);
    const Call call = {
        .codes = codes_.as<uint8_t>(),
        .scales = bits(spec_.format) <= 8 ? scales_.as<uint8_t>() : nullptr,
        .x = x.values,
        .x_scales = form.is_scaled() ? x.scales : nullptr,
        .row_scales = row_scales(),
        .bias = bias,
        .y = to.y,
        .result = to.result,
        .onto = to.onto,
        .parts = reinterpret_cast<float*>(static_cast<uint8_t*>(workspace_at) + workspace(tokens).parts),
        .rows = layout_.rows,
        .tokens = static_cast<int>(tokens),
        .padded_cols = layout_.padded_cols,
        .panel_rows = form.panel_rows,
        .chunks = layout_.chunks,
        .groups = layout_.groups,
        .group_units = layout_.group_stride / linear::kUnitColumns,
        .group_inverse = (uint64_t{1} << linear::kInverseShift) / static_cast<uint64_t>(layout_.group_stride / linear::kUnitColumns) + 1,
        .scale_run = layout_.scale_run,
        .scaling = scaling(),
        .splits = takes_tiles(tokens) ? splits(tokens) : 1,
        .multiprocessors = multiprocessors_,
    };
    if (takes_library(tokens)) return library_->multiply(call, call.parts, stream);
    if (takes_warpgroup(tokens)) return (takes_few(tokens) ? few_warpgroup_->split : warpgroup_->whole)(call, stream);
    (takes_tiles(tokens) ? tiles_ : stream_)(call, stream);
  }

 private:
  void check_rows(const char* call, int64_t row_offset, int64_t rows) const {
    if (row_offset >= 0 && rows >= 0 && row_offset + rows <= spec_.rows) return;
    throw std::invalid_argument(std::string(call) + ": rows " + std::to_string(row_offset) + " to " + std::to_string(row_offset + rows) +
                                " of a matrix of " + std::to_string(spec_.rows));
  }

  static void check_tokens(int64_t tokens) {
    if (tokens >= 1 && tokens <= kMaxTokens) return;
    throw std::invalid_argument("linear: a call of " + std::to_string(tokens) + " tokens; it takes 1 to " + std::to_string(kMaxTokens));
  }

  linear::Scaling scaling() const {
    if (spec_.scales == Scales::e4m3) return linear::Scaling::codes;
    if (spec_.scales == Scales::affine) return linear::Scaling::zeros;
    return layout_.groups == 1 && spec_.scales == Scales::fp32 ? linear::Scaling::rows : linear::Scaling::groups;
  }

  const float* row_scales() const {
    if (bits(spec_.format) > 8 || linear::is_grouped(scaling())) return nullptr;
    return reinterpret_cast<const float*>(scales_.as<uint8_t>() + (spec_.scales == Scales::e4m3 ? layout_.row_scales_at() : 0));
  }

  bool takes_tiles(int64_t tokens) const {
    return !deterministic_ && tiles_ != nullptr && warpgroup_ == nullptr && tokens > kMostStreamTokens;
  }

  bool takes_library(int64_t tokens) const {
    if (library_ == nullptr || tokens < library_->least_tokens()) return false;
    if (deterministic_) return library_->exact();
    return warpgroup_ == nullptr || tokens >= (operand_ == Operand::int8 ? kInt8LibraryTokens : kLibraryTokens);
  }

  bool takes_warpgroup(int64_t tokens) const {
    return warpgroup_ != nullptr && tokens >= kWarpgroupTokens && !deterministic_ && !takes_library(tokens);
  }

  bool takes_interleaved(int64_t tokens) const {
    if (spec_.format != Format::int4 || operand_ != Operand::int8 || takes_library(tokens)) return false;
    return !takes_warpgroup(tokens) || spec_.scales != Scales::affine;
  }

  // Of `stream` or `warpgroup-split`.
  bool takes_few(int64_t tokens) const {
    if (takes_library(tokens)) return false;
    return takes_warpgroup(tokens) ? tokens <= linear::kMostSplitTokens : !takes_tiles(tokens);
  }

  // Whole blocks and iterations of x.
  bool takes_panels(int64_t tokens) const { return takes_warpgroup(tokens) && !takes_few(tokens); }
  static int panel_rows(int64_t tokens) { return static_cast<int>((tokens + linear::kPanelRows - 1) / linear::kPanelRows * linear::kPanelRows); }
  int panel_cols() const { return (layout_.padded_cols + linear::kPanelColumns - 1) / linear::kPanelColumns * linear::kPanelColumns; }

  // tiles.cuh launches the same.
  static int64_t tokens_per_block(int64_t tokens) { return tokens <= 64 ? 64 : 128; }

  // Two blocks per multiprocessor where the features and tokens alone give fewer.
  int splits(int64_t tokens) const {
    const int64_t blocks = layout_.padded_rows / linear::kBlockRows * ((tokens + tokens_per_block(tokens) - 1) / tokens_per_block(tokens));
    const int64_t wanted = 2 * multiprocessors_ / blocks;
    return static_cast<int>(std::clamp<int64_t>(wanted, 1, std::clamp(layout_.chunks / kMinChunksPerSplit, 1, kMaxSplits)));
  }

  Workspace workspace(int64_t tokens) const {
    Workspace out;
    // Also where x is not in panels: room for some number of tokens is room for fewer.
    const bool has_panels = warpgroup_ != nullptr;
    const auto x_rows = static_cast<size_t>(has_panels ? panel_rows(tokens) : tokens);
    const auto x_cols = static_cast<size_t>(has_panels ? panel_cols() : layout_.padded_cols);
    out.x_scales = align(x_rows * x_cols * operand_bytes(operand_));
    out.parts = out.x_scales + align(static_cast<size_t>(tokens) * sizeof(float));
    // Parts exist only while all blocks fit the multiprocessors twice, which bounds them for any number of tokens.
    const size_t part_bytes = takes_tiles(tokens)
        ? 2 * static_cast<size_t>(multiprocessors_) * linear::kBlockRows * static_cast<size_t>(tokens_per_block(tokens)) * sizeof(float)
        : 0;
    // Of this number of tokens or of fewer, which `tiles` may serve.
    out.bytes = out.parts + std::max(part_bytes, takes_library(tokens) ? library_->workspace_bytes() : 0);
    return out;
  }

  Operand operand_, few_operand_;  // of the same size
  Layout layout_;
  void (*tiles_)(const Call&, cudaStream_t);  // null: `stream_` serves every number of tokens
  void (*stream_)(const Call&, cudaStream_t);
  std::unique_ptr<linear::library::LibraryProduct> library_;  // null: our own kernels serve
  const linear::WarpgroupProduct *warpgroup_, *few_warpgroup_;  // of either operand; null: `tiles` serves
  bool deterministic_;
  int multiprocessors_ = 0;
  DeviceMemory codes_, scales_;
};

}  // namespace

std::unique_ptr<CudaMatrix> make_cuda_matrix(const MatrixSpec& spec, const CudaMatrixOptions& options) {
  return std::make_unique<DeviceMatrix>(spec, options);
}

}  // namespace kvant::cuda
