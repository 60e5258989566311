#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "kvant/cuda/stream.h"
#include "kvant/linear.h"

#ifdef __CUDACC__
#define KVANT_ON_BOTH __host__ __device__
#else
#define KVANT_ON_BOTH
#endif

namespace kvant::cuda {

// A product may write whole units of this many rows: y has room for them, and those beyond the last token hold anything after.
constexpr int64_t kTokenUnit = 16;
constexpr int64_t whole_token_units(int64_t tokens) { return (tokens + kTokenUnit - 1) / kTokenUnit * kTokenUnit; }

// From this many tokens on, a product may leave 16 bits or add to rows that are there. What fewer tokens
// leave stays in the second-level cache (50 MB on an H100; 256 rows of 28672 float32 are 29), so it is not worth a rounding.
constexpr int64_t kManyTokens = 257;

// What a product leaves.
enum class Result {
  fp32,
  bf16,   // rounded to nearest
  added,  // float32, added to what is there
};

// Where a product goes.
struct Destination {
  float* y = nullptr;  // [tokens, N] in whole units; bf16 fills the first half
  Result result = Result::fp32;
  float* onto = nullptr;  // added: [tokens, N] in whole units, and y holds anything after
};

// How prepared activations are held and multiplied.
enum class Operand { fp32, bf16, fp16, int8 };

// Whether operands stand for activations less a scale per token. bf16 numbers in fp16: a power of two.
constexpr bool is_scaled(Format activation, Operand operand) {
  return activation == Format::int8 || activation == Format::e4m3 || (activation == Format::bf16 && operand == Operand::fp16);
}

// The form in which a matrix takes its input: rows of `padded_cols` operands, rounded or quantized.
struct PreparedForm {
  Format activation = Format::fp32;
  Operand operand = Operand::fp32;
  bool codes = false;      // e4m3 is held as one-byte codes, not as fp16 numbers
  // Columns of a unit of 32 in the order in which warpgroup steps take them. Of the eight columns c, 16-bit pair i of four and int8
  // quadruple i of two come as word c of 16-byte vector i.
  bool paired = false;
  // Not 0: rows lie in panels of 128 bytes, so many of each panel one after the other, and their vectors are exchanged by the low bits of
  // the row, as they are to lie in shared memory. Paired only.
  int panel_rows = 0;
  // Eight int8 columns in the order in which the nibbles of int4 codes come apart: 0 4 1 5 2 6 3 7.
  bool interleaved = false;
  float static_scale = 0;  // int8 and e4m3; 0: from the largest magnitude of each token
  int cols = 0;            // of the source
  int padded_cols = 0;
  int group_cols = 0, group_stride = 0;  // columns of a group in the source and as padded

  // Whether columns of the source do not lie one after the other: only behind the last one there may be padding otherwise.
  KVANT_ON_BOTH bool has_gaps() const { return group_stride != group_cols && group_cols != cols; }
  bool is_scaled() const { return cuda::is_scaled(activation, operand); }
};

struct Prepared {
  void* values = nullptr;   // [tokens, padded_cols] or [panels, panel_rows, 128 bytes]
  float* scales = nullptr;  // [tokens]; written for scaled forms only
};

// A weight matrix on the device: y[t, n] = sum_k x[t, k] * w[n, k] (+ bias[n]) under the scheme of its MatrixSpec, with the
// meaning that kvant/linear.h gives it. A matrix rounds or quantizes its input itself.
class CudaMatrix {
 public:
  virtual ~CudaMatrix() = default;

  // Quantizes (AbsMax, codes and scales bit-equal to the CPU's) and packs rows [row_offset, row_offset + rows) from `source`
  // [rows, K], row-major, dtype fp32, bf16 or fp16, on the device and 16-byte aligned. `source` may be freed once the stream
  // has run. One call holds a whole tensor part, so a scale per tensor (group_size -2) belongs to one call.
  virtual void load_rows(int64_t row_offset, int64_t rows, Format dtype, const void* source, Stream stream) = 0;
  // Packs rows [row_offset, row_offset + source.rows) of codes and scales as they are, from arrays on the device that may be freed
  // once the stream has run.
  virtual void load_codes(int64_t row_offset, const CodedRows& source, Stream stream) = 0;

  // Bytes of codes and scales as held.
  virtual size_t bytes() const = 0;
  // `linear_<weights>_<activations>_cuda[-<kernel>]` for a step of that many tokens, e.g. linear_int4-g32_int8_cuda-gemv.
  virtual std::string variant(int64_t tokens) const = 0;

  // Scratch of `run` for any number of tokens from 1 to max_tokens. 256-byte aligned by the caller, shared by all matrices.
  virtual size_t workspace_bytes(int64_t max_tokens) const = 0;

  // The two halves of a product. A kernel that computes x may write the prepared form itself instead of float32 rows, to
  // `prepared_at` of the same workspace and number of tokens (linear/prepare_row.cuh does it).
  virtual PreparedForm prepared_form(int64_t tokens) const = 0;
  virtual Prepared prepared_at(int64_t tokens, void* workspace) const = 0;
  // x: [tokens, K] float32
  virtual void prepare(const float* x, int64_t tokens, void* workspace, Stream stream) const = 0;
  // Whether `multiply` leaves such a result: float32 always, the others where many tokens go through kernels that can.
  virtual bool gives(Result result, int64_t tokens, bool has_bias) const = 0;
  // Enqueues the product for `tokens` >= 1 rows that lie prepared in the workspace. All memory is on the device and 16-byte aligned
  // at row 0 (not at every row: K and N are arbitrary); bias [N] or null. Allocates nothing and never waits, so that it can be
  // captured into a graph; what it launches depends on `tokens` and the kind of result alone.
  virtual void multiply(int64_t tokens, const float* bias, const Destination& to, void* workspace, Stream stream) const = 0;

  void run(const float* x, int64_t tokens, const float* bias, const Destination& to, void* workspace, Stream stream) const {
    prepare(x, tokens, workspace, stream);
    multiply(tokens, bias, to, workspace, stream);
  }

  const MatrixSpec& spec() const { return spec_; }

 protected:
  explicit CudaMatrix(const MatrixSpec& spec) : spec_(spec) {}
  MatrixSpec spec_;
};

struct CudaMatrixOptions {
  // Batch-invariant: each y[t, n] has the same bits whatever the number of tokens and whichever rows they are.
  bool deterministic = false;
  // cuBLASLt for many tokens where it is there; without, our own kernels alone.
  bool library = true;
};

// Why cuBLASLt, which is opened at run time, serves no products for many tokens; "" where it does. Our own kernels serve then.
const std::string& cublaslt_absence();

// Allocates the packed form on the current device. Throws std::invalid_argument naming the scheme when there is no such
// kernel, Error OUT_OF_MEMORY when the device has no room.
std::unique_ptr<CudaMatrix> make_cuda_matrix(const MatrixSpec& spec, const CudaMatrixOptions& options);

}  // namespace kvant::cuda
