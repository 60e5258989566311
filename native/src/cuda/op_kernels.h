#pragma once
#include <cstdint>
#include <string>

#include "kvant/cuda/linear.h"
#include "kvant/cuda/stream.h"
#include "kvant/format.h"
#include "kvant/ops.h"

namespace kvant::cuda {

// The ops of a plan on the device, each as one launch (attention: as one or more). Meaning as kvant/ops.h; all pointers, also those
// inside StepTokens and KvPages, are device memory. A token with slot -1 pads the step: it stores nothing in pages and its
// attention is 0. Results of a token never depend on the other tokens of the launch.

void embed(const StepTokens& tokens, const void* table, Format dtype, int64_t width, float* out, Stream stream);
// residual non-null: x += residual (stored) first.
void rms_norm(float* x, const float* residual, const float* weight, int64_t count, int64_t width, int64_t norm_width,
              float epsilon, float* out, Stream stream);
// The same over whole rows, the result in the form that a matrix takes. A block keeps the row in shared memory: every device
// since 8.0 has room for this many.
constexpr int64_t kMaxPreparedColumns = 24 * 1024;
void rms_norm_prepared(float* x, const float* residual, const float* weight, int64_t count, float epsilon, const PreparedForm& form,
                       const Prepared& to, Stream stream);
void add(const float* x, const float* y, float* out, int64_t values, Stream stream);
void rope(const float* x, const RopeTables& tables, const StepTokens& tokens, int64_t width, int head_dim, float* out,
          Stream stream);
// saturations: a counter that clipped values are added to.
void kv_write(const float* k, const float* v, const StepTokens& tokens, const KvPages& pages, int layer,
              unsigned long long* saturations, Stream stream);
// args.q_out null: keys and values alone.
void qkv_store(const QkvStoreArgs& args, const StepTokens& tokens, const KvPages& pages, unsigned long long* saturations,
               Stream stream);
// Whether a value that is rounded to the format loses nothing to speak of when it is rounded to bf16 first.
constexpr bool is_within_bf16(Format format) { return format == Format::bf16 || bits(format) <= 8; }
// up null: gate is [count, 2 * width], gate then up.
void gated_mul(Gate function, const float* gate, const float* up, float* out, int64_t count, int64_t width, Stream stream);
// The same in the form that a matrix takes. Where gates are bf16, so is what they are multiplied with, and up is null.
struct Gates {
  const void* rows;
  bool are_bf16;
};
void gated_mul_prepared(Gate function, const Gates& gate, const float* up, int64_t count, const PreparedForm& form, const Prepared& to,
                        Stream stream);
// out[i] = x[rows[i]]; rows below 0 are skipped
void gather_rows(const float* x, const int32_t* rows, float* out, int64_t count, int64_t width, Stream stream);

// Positions per split of the KV sequence, counted from position 0: a constant of the plan, so that a token's result does not
// depend on its batch. At most kMaxSplits splits cover the context.
constexpr int kMaxSplits = 64;
int attention_split_tokens(int64_t context_length);
// Steps of at most this many tokens spread the splits of each token over blocks.
constexpr int64_t kMaxSplitTokens = 256;
// How attention runs on the current device.
struct AttentionMode {
  // Results of a token do not depend on the other tokens of its step, nor on how its row was cut into steps.
  bool deterministic = false;
  int split_tokens = 0;
  int multiprocessors = 0;
};
AttentionMode attention_mode(int64_t context_length, bool deterministic);

// What the host knows of a step's rows when it launches one.
enum class StepRows {
  single,  // every row brings one token
  chunks,  // every row brings at least kLongRow tokens
  any,
};
// Rows that bring at least this many tokens to a step attend as a chunk.
constexpr int kLongRow = 8;

struct AttentionShape {
  Format format;  // of the pages
  int heads, kv_heads, head_dim;
};
size_t attention_scratch_bytes(const AttentionMode& mode, const AttentionShape& shape, int64_t max_tokens);
// Once, before the first launch with this scratch: its counters become zero.
void prepare_attention(void* scratch, Stream stream);

// What of qkv_store a launch does itself.
enum class QkvWork {
  none,
  queries,  // it turns them as it reads them: qkv_store without q_out comes before
  all,      // it takes the place of qkv_store
};
// As much as it can.
QkvWork attention_work(const AttentionMode& mode, StepRows rows, const AttentionShape& shape);

// What a launch does beside attending.
struct AttentionExtras {
  // At most what attention_work says. It reads q from qkv, and for `all` stores keys and values as qkv_store does, bit for bit; args.q
  // and qkv.q_out are not used. Outputs must not lie over qkv.
  QkvWork work = QkvWork::none;
  QkvStoreArgs qkv;
  unsigned long long* saturations = nullptr;
  // Non-null: outputs go there, rounded to bf16 or fp16, and not to args.out: [T, heads * head_dim]. Where attention_rounds says so.
  void* rounded = nullptr;
  Format rounded_format = Format::bf16;
};
bool attention_rounds(const AttentionMode& mode, const AttentionShape& shape);
void attention(const AttentionMode& mode, StepRows rows, const AttentionArgs& args, const StepTokens& tokens, const KvPages& pages,
               const AttentionExtras& extras, void* scratch, Stream stream);
// The kernels of such a launch, e.g. attention_int8_cuda-decode, attention_int8_cuda-decode+prefill, attention_fp32_cuda-exact.
std::string attention_variant(const AttentionMode& mode, StepRows rows, const AttentionShape& shape);

}  // namespace kvant::cuda
