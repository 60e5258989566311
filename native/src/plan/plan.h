#pragma once
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "kvant/format.h"
#include "kvant/gate.h"

namespace kvant {

// A model as data, as it arrives from packages/kernels/src/cpu/native-addon.ts `NativePlan`. Buffers and weights are named by
// index; kAbsent means none.
constexpr int kAbsent = -1;

enum class Rows { tokens, logits };

// An activation buffer: float32 [rows, width]. Buffers with one slot share memory. `kept`: read from outside after a step.
struct BufferSpec {
  int64_t width = 0;
  Rows rows = Rows::tokens;
  int slot = 0;
  bool kept = false;
};

struct WeightSpec {
  enum class Kind {
    matrix,  // packed for linear
    table,   // rows looked up by token id, in a float format
    vector,  // float32 values
  };
  Kind kind = Kind::vector;
  int64_t rows = 0, cols = 0;
  Format format = Format::fp32;
  int group_size = 0;  // as MatrixSpec
  Format activation = Format::fp32;
  float activation_scale = 0;  // 0: dynamic
  Scales scales = Scales::fp32;
};

struct RopeSpec {
  std::vector<float> inverse_frequencies;  // [head_dim / 2], radians per position
  double magnitude = 1;
};

// Layers that share page tables; the layout of a page is that of KvPages.
struct KvGroupSpec {
  int layer_count = 0, kv_heads = 0, head_dim = 0;
  int window = 0;  // 0: none
  Format format = Format::fp32;
  int page_tokens = 16;
  int64_t page_count = 0;  // page 0 is reserved: it stands for "no page" in a table
  int64_t host_page_count = 0;  // pages of host memory that pages can be swapped out to
  int64_t page_bytes = 0, layer_bytes = 0;
  int64_t k_codes = 0, v_codes = 0, k_scales = 0, v_scales = 0;
  std::vector<float> k_static, v_static;  // empty, or [layer_count, kv_heads]

  bool has_token_scales() const { return bits(format) == 8 && k_static.empty(); }
  int64_t code_bytes() const { return int64_t{kv_heads} * page_tokens * head_dim * bits(format) / 8; }
  int64_t scale_bytes() const { return has_token_scales() ? int64_t{kv_heads} * page_tokens * 4 : 0; }
};

struct EmbedOp {
  int table, out;
};
struct RmsNormOp {
  int x, residual, weight;
  float epsilon;
  int out;
};
struct LinearOp {
  int x, weight, bias, out;
};
struct AddOp {
  int x, y, out;
};
struct RopeOp {
  int x, rope, head_dim, out;
};
struct KvWriteOp {
  int k, v, group, layer;
};
struct QkvStoreOp {
  int qkv, heads, q_norm, k_norm;
  float epsilon;
  int rope, group, layer, out;
};
struct AttentionOp {
  int q, heads;
  float scale;
  int group, layer, out;
};
struct GatedMulOp {
  Gate function;
  int gate, up, out;
};
struct GatherRowsOp {
  int x, out;
};
using Op = std::variant<EmbedOp, RmsNormOp, LinearOp, AddOp, RopeOp, KvWriteOp, QkvStoreOp, AttentionOp, GatedMulOp, GatherRowsOp>;

struct Plan {
  int64_t vocab_size = 0;
  int64_t context_length = 0;
  std::vector<BufferSpec> buffers;
  std::vector<WeightSpec> weights;
  std::vector<RopeSpec> ropes;
  std::vector<KvGroupSpec> kv_groups;
  std::vector<Op> ops;
  int logits = kAbsent;
};

struct PlanLimits {
  int64_t max_rows = 0, max_tokens = 0, max_logit_rows = 0;

  int64_t max_rows_of(Rows rows) const { return rows == Rows::tokens ? max_tokens : max_logit_rows; }
};

// The op's name in plans, e.g. "rmsNorm".
const char* op_name(const Op& op);

// Checks every index, width and size, so that running the plan cannot leave its memory. Throws Error INVALID_ARGUMENT naming
// the op or table entry, the value and the limit.
void validate_plan(const Plan& plan, const PlanLimits& limits);

}  // namespace kvant
