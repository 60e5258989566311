#include "library_product.h"

#include <algorithm>
#include <optional>

#include "../check.h"
#include "library_call.h"
#include "library_scale.h"

namespace kvant::cuda::linear::library {
namespace {

// Enough for the library's best rate; of more, the sums wait too long outside the second-level cache until they are scaled.
constexpr int kTokensAtOnce = 2048;
// Decoded weights of a slab of rows: in the second-level cache where columns are few, enough for the library's best rate elsewhere.
constexpr int kSlabRows = 4096;
// The library's FP8 kernels that scale give a block 128 rows and all columns; those that do not also split the columns. Where rows
// leave multiprocessors idle, that gains more than a pass over the result of so many tokens costs: on an H100, 4096 x 14336
// weights times 64 tokens take 49 us with the first and 30 with the second.
constexpr int kFewTokens = 256, kRowsOfBlock = 128;
static_assert(kManyTokens > kFewTokens);

std::optional<Numbers> numbers_of(const Layout& layout, Format activation, Operand operand) {
  const bool per_row = layout.groups == 1 && bits(layout.format) == 8;
  if (operand == Operand::int8) return per_row && layout.format == Format::int8 ? std::optional(Numbers::int8) : std::nullopt;
  if (operand == Operand::fp32) return layout.format == Format::fp32 && activation == Format::fp32 ? std::optional(Numbers::fp32) : std::nullopt;
  if (!(per_row || bits(layout.format) == 16)) return std::nullopt;
  if (activation == Format::e4m3 && layout.format == Format::e4m3) return Numbers::e4m3;
  return operand == Operand::bf16 ? Numbers::bf16 : Numbers::fp16;
}

// Where result `at` of a call goes.
void* place_of(const Call& call, size_t at) {
  if (call.result == Result::added) return call.onto + at;
  return call.result == Result::bf16 ? static_cast<void*>(reinterpret_cast<uint16_t*>(call.y) + at) : call.y + at;
}

}  // namespace

std::unique_ptr<LibraryProduct> LibraryProduct::make(const Layout& layout, Format activation, Operand operand) {
  const std::optional<Numbers> numbers = numbers_of(layout, activation, operand);
  // Rows of y must stay aligned.
  if (!numbers || layout.rows % 16 != 0) return nullptr;
  const bool decodes = bits(layout.format) == 8 && (*numbers == Numbers::bf16 || *numbers == Numbers::fp16);
  std::unique_ptr<LibraryProduct> product(new LibraryProduct(layout, *numbers, decodes));
  for (int tokens : {static_cast<int>(product->least_tokens()), kTokensAtOnce}) {
    if (!can_multiply(product->problem(product->slab_rows_, tokens))) return nullptr;
  }
  const auto can_give = [&](Result result) {
    return !product->finishes(false) && can_multiply(product->problem(layout.rows, kTokensAtOnce, result));
  };
  product->gives_bf16_ = *numbers != Numbers::fp32 && can_give(Result::bf16);  // a scheme of float32 names no such rounding
  product->gives_added_ = can_give(Result::added);
  return product;
}

LibraryProduct::LibraryProduct(const Layout& layout, Numbers numbers, bool decodes)
    : layout_(layout), numbers_(numbers), decodes_(decodes), slab_rows_(decodes ? std::min(layout.rows, kSlabRows) : layout.rows) {
  int device = 0;
  check(cudaGetDevice(&device), "linear: current device");
  check(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, device), "linear: multiprocessors");
}

// H100: from here on the library is faster than `stream` and `tiles`; than `warpgroup` from what matrix.cc says.
int64_t LibraryProduct::least_tokens() const { return decodes_ ? 640 : 17; }

bool LibraryProduct::gives(Result result, bool has_bias) const {
  switch (result) {
    case Result::fp32: return true;
    case Result::bf16: return numbers_ == Numbers::int8 || (gives_bf16_ && !has_bias);
    case Result::added: return gives_added_ || finishes(has_bias);
  }
  return false;
}

void LibraryProduct::tune(const void* codes) const {
  if (numbers_ == Numbers::int8) tune_int8(layout_.rows, layout_.padded_cols, codes);
}

Problem LibraryProduct::problem(int rows, int tokens, Result result) const {
  // The library's FP8 kernels take whole units.
  const int whole = takes_codes() ? static_cast<int>(whole_token_units(tokens)) : tokens;
  const bool scaled = takes_codes() && (tokens > kFewTokens || rows / kRowsOfBlock >= multiprocessors_);
  return {numbers_, scaled, rows, whole, layout_.padded_cols, layout_.rows, result};
}

// Of one call of the library.
int LibraryProduct::tokens_at_once(const Call& call) const {
  if (numbers_ != Numbers::int8) return call.tokens;
  if (call.result != Result::bf16) return kTokensAtOnce;
  // Sums lie behind the results, in the second half of y.
  const int most = std::min(kTokensAtOnce, call.tokens / 2), calls = (call.tokens + most - 1) / most;
  return (call.tokens + calls - 1) / calls;
}

size_t LibraryProduct::workspace_bytes() const {
  return kCallWorkspace + (decodes_ ? static_cast<size_t>(slab_rows_) * layout_.padded_cols * 2 : 0);
}

void LibraryProduct::multiply(const Call& call, void* workspace, cudaStream_t stream) const {
  const bool integers = numbers_ == Numbers::int8, apart = integers && call.result == Result::bf16;
  const int tokens_at_once = this->tokens_at_once(call);
  const size_t x_row = static_cast<size_t>(call.padded_cols) * (integers || takes_codes() ? 1 : numbers_ == Numbers::fp32 ? 4 : 2);
  const size_t w_row = static_cast<size_t>(call.padded_cols) * static_cast<size_t>(bits(layout_.format) / 8);
  void* const decoded = static_cast<uint8_t*>(workspace) + kCallWorkspace;
  for (int row = 0; row < call.rows; row += slab_rows_) {
    const int rows = std::min(slab_rows_, call.rows - row);
    const uint8_t* const codes = call.codes + static_cast<size_t>(row) * w_row;
    if (decodes_) decode_codes(layout_.format, codes, static_cast<size_t>(rows) * call.padded_cols, numbers_ == Numbers::fp16, decoded, stream);
    for (int token = 0; token < call.tokens; token += tokens_at_once) {
      const int tokens = std::min(tokens_at_once, call.tokens - token);
      const size_t at = static_cast<size_t>(token) * call.rows + row;
      const float* const x_scales = call.x_scales == nullptr ? nullptr : call.x_scales + token;
      const float* const w_scales = call.row_scales == nullptr ? nullptr : call.row_scales + row;
      const void* const x = static_cast<const uint8_t*>(call.x) + static_cast<size_t>(token) * x_row;
      Problem problem = this->problem(rows, tokens);
      const bool scaled = problem.scaled || w_scales == nullptr, finished = scaled && call.bias == nullptr;
      if (finished) problem.result = call.result;
      void* const y = finished ? place_of(call, at) : call.y + (apart ? static_cast<size_t>(call.tokens) * call.rows / 2 : at);
      library::multiply(problem, {decodes_ ? decoded : codes, x, w_scales, x_scales, y}, workspace, stream);
      if (finished) continue;
      scale_sums({.sums = y,
                  .integers = integers,
                  .y = place_of(call, at),
                  .result = call.result,
                  .w_scales = scaled ? nullptr : w_scales,
                  .x_scales = scaled ? nullptr : x_scales,
                  .bias = call.bias == nullptr ? nullptr : call.bias + row,
                  .rows = rows,
                  .stride = call.rows,
                  .tokens = tokens},
                 stream);
    }
  }
}

}  // namespace kvant::cuda::linear::library
