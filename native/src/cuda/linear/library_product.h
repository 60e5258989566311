#pragma once
#include <memory>

#include "layout.h"
#include "library_abi.h"

namespace kvant::cuda::linear::library {

struct Problem;  // library_call.h

// What the library multiplies, weights and activations alike.
enum class Numbers { fp32, bf16, fp16, e4m3, int8 };

// Products of one matrix through cuBLASLt, for many tokens:
//
//   weights               activations   the library            then
//   fp32, bf16, fp16      the same      float32 sums           bias; fp32 in multiply-adds of float32, never TF32
//   e4m3, scale per row   e4m3 codes    float32, both scales   bias; both scales and bias where tokens and rows are few
//   int8, scale per row   int8          exact int32 sums       both scales, bias (library_scale.cu)
//   8 bits, scale per row bf16, fp16    the same, of codes decoded to 16 bits a slab of rows at a time: exact
//                                                              scales, bias
//
// Other results than float32 come from the library itself where nothing is left to do then, and for int8 from the scaling.
//
// Scales of groups stay with our own kernels: here they would have to be folded into 16-bit weights, a rounding that no scheme
// names.
class LibraryProduct {
 public:
  // Null where the library is absent, or serves neither the scheme nor the shape on the current device.
  static std::unique_ptr<LibraryProduct> make(const Layout& layout, Format activation, Operand operand);

  // Sums are exact whatever their order, so results do not depend on the number of tokens.
  bool exact() const { return numbers_ == Numbers::int8; }
  // Takes e4m3 activations as one-byte codes.
  bool takes_codes() const { return numbers_ == Numbers::e4m3; }
  int64_t least_tokens() const;
  // For at least kManyTokens.
  bool gives(Result result, bool has_bias) const;
  // Once the weights' memory is there, whatever it holds.
  void tune(const void* codes) const;
  // Beside the prepared activations.
  size_t workspace_bytes() const;
  void multiply(const Call& call, void* workspace, cudaStream_t stream) const;

 private:
  LibraryProduct(const Layout& layout, Numbers numbers, bool decodes);
  Problem problem(int rows, int tokens, Result result = Result::fp32) const;
  // Whether something is left to do with what the library leaves of many tokens.
  bool finishes(bool has_bias) const { return numbers_ == Numbers::int8 || decodes_ || has_bias; }
  int tokens_at_once(const Call& call) const;

  Layout layout_;
  Numbers numbers_;
  bool decodes_;   // weights of 8 bits to 16-bit numbers
  int slab_rows_;  // rows of one call of the library
  int multiprocessors_ = 0;
  bool gives_bf16_ = false, gives_added_ = false;
};

}  // namespace kvant::cuda::linear::library
