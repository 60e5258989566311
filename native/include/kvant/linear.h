#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "kvant/coded_rows.h"
#include "kvant/format.h"
#include "kvant/thread_pool.h"
#include "kvant/tier.h"

namespace kvant {

// A weight matrix w[N, K] of y[t, n] = sum_k x[t, k] * w[n, k] (+ bias[n]) and the scheme it is multiplied under.
struct MatrixSpec {
  int64_t rows = 0;  // N, output features
  int64_t cols = 0;  // K, input features
  Format format = Format::fp32;
  // Values per scale along a row; 0: none (float formats); -1: one scale per row; -2: one per load call (per tensor).
  int group_size = 0;
  // fp32; bf16 and fp16 round x to that format first; int8 and (on CUDA alone) e4m3 quantize each token's x.
  Format activation = Format::fp32;
  // int8 and e4m3 only. 0: dynamic (AbsMax per token); else static.
  float activation_scale = 0;
  Scales scales = Scales::fp32;
};

// Output features are processed in blocks of this many; the last block may be ragged.
constexpr int64_t kLinearBlock = 16;

// A packed weight matrix. Results are batch-invariant: y[t, n] is reduced over k in one fixed order, whatever the number of
// tokens, the block range or the thread. Weights are held once, in the packed form.
class Matrix {
 public:
  virtual ~Matrix() = default;

  // Quantizes (bit-equal to packages/formats `quantizeAbsMax`) and packs rows [row_offset, row_offset + rows) from
  // `source` [rows, K], row-major, dtype fp32, bf16 or fp16. Parts of a fused matrix arrive in separate calls.
  virtual void load_rows(int64_t row_offset, int64_t rows, Format dtype, const void* source, ThreadPool& pool) = 0;
  // Packs rows [row_offset, row_offset + source.rows) of codes and scales as they are.
  virtual void load_codes(int64_t row_offset, const CodedRows& source, ThreadPool& pool) = 0;

  // Bytes of codes and scales as held.
  virtual size_t bytes() const = 0;
  // `linear_<weights>_<activations>_<tier>`, e.g. linear_int4-g32_int8_avx512vnni.
  virtual std::string variant() const = 0;

  // Scratch for `tokens` prepared rows: rounded or quantized x, its scales and sums. 64-byte aligned by the caller.
  virtual size_t prepared_bytes(int64_t tokens) const = 0;
  // Prepares tokens [begin, end) of `tokens`; ranges may run on different threads.
  virtual void prepare(const float* x, int64_t ldx, int64_t tokens, int64_t begin, int64_t end, void* prepared) const = 0;

  int64_t block_count() const { return (spec_.rows + kLinearBlock - 1) / kLinearBlock; }
  // y[t, n] for all tokens and the features of blocks [block_begin, block_end). bias: [N] or null.
  virtual void run(const void* prepared, int64_t tokens, const float* bias, float* y, int64_t ldy, int64_t block_begin,
                   int64_t block_end) const = 0;

  // Both over everything, in ranges for the threads of a pool: x [tokens, K] and y [tokens, N].
  void prepare_all(const float* x, int64_t tokens, void* prepared, ThreadPool& pool) const;
  void run_all(const void* prepared, int64_t tokens, const float* bias, float* y, ThreadPool& pool) const;

  const MatrixSpec& spec() const { return spec_; }

 protected:
  explicit Matrix(const MatrixSpec& spec) : spec_(spec) {}
  // Blocks that the kernel multiplies together: a range of fewer takes as long.
  virtual int64_t blocks_together(int64_t tokens) const = 0;

  MatrixSpec spec_;
};

// Throws std::invalid_argument naming the scheme when there is no such kernel.
std::unique_ptr<Matrix> make_matrix(const MatrixSpec& spec, Tier tier);

}  // namespace kvant
