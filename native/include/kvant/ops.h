#pragma once
#include <cstddef>
#include <cstdint>

#include "kvant/format.h"
#include "kvant/gate.h"
#include "kvant/tier.h"

namespace kvant {

// The tokens of a step. Consecutive tokens of a row have consecutive positions.
struct StepTokens {
  int64_t count = 0;
  const int32_t* ids = nullptr;        // [count]
  const int32_t* positions = nullptr;  // [count]
  const int32_t* slots = nullptr;      // [count] row slot of the token's sequence
};

// The pages of one layer group and the page tables of all row slots.
// page -> layer -> [K codes][V codes][K scales][V scales]; codes [kv_heads, page_tokens, head_dim], scales float32
// [kv_heads, page_tokens] (token-head scales only); parts start 16-byte aligned. As packages/kvcache `PageLayout`.
struct KvPages {
  uint8_t* base = nullptr;  // [page_count * page_bytes], 64-byte aligned
  int64_t page_bytes = 0, layer_bytes = 0;
  int64_t k_codes = 0, v_codes = 0, k_scales = 0, v_scales = 0;  // byte offsets inside a layer
  int page_tokens = 16, kv_heads = 0, head_dim = 0, layer_count = 0;
  int window = 0;  // 0: none
  Format format = Format::fp32;
  const float* k_static = nullptr;  // [layer_count, kv_heads], or null: token-head scales (8-bit) or none
  const float* v_static = nullptr;
  const int32_t* tables = nullptr;  // [row slots, table_stride] page numbers
  int64_t table_stride = 0;
};

struct RopeTables {
  const float* cos = nullptr;  // [context, head_dim / 2], magnitude included
  const float* sin = nullptr;
};

// Consecutive tokens of one row that share a pass over the stored pages.
struct AttentionTile {
  int32_t first_token = 0, token_count = 0, slot = 0;
};
constexpr int kAttentionTileTokens = 8;

struct QkvStoreArgs {
  const float* qkv = nullptr;  // [T, (heads + 2 * kv_heads) * head_dim]
  float* q_out = nullptr;      // [T, heads * head_dim]
  int heads = 0;
  const float* q_norm = nullptr;  // [head_dim] or null
  const float* k_norm = nullptr;
  float epsilon = 0;
  RopeTables rope;  // cos null: no rotation
  int layer = 0;
};

struct AttentionArgs {
  const float* q = nullptr;  // [T, heads * head_dim]
  float* out = nullptr;      // [T, heads * head_dim]
  int heads = 0;
  float scale = 1;
  int layer = 0;
};

// One table of functions per tier. Every function is pure in its operands, handles any even head dim and any width, and
// computes each output in one fixed order. Ranges are token ranges unless said otherwise.
struct OpKernels {
  // out[t] = table[ids[t]], table [vocab, width] of dtype fp32, bf16 or fp16
  void (*embed)(const StepTokens&, const void* table, Format dtype, int64_t width, float* out, int64_t begin, int64_t end);
  // residual non-null: x += residual (stored). out = x / sqrt(mean(x^2) + epsilon) * weight over each run of norm_width.
  void (*rms_norm)(float* x, const float* residual, const float* weight, int64_t width, int64_t norm_width, float epsilon,
                   float* out, int64_t begin, int64_t end);
  void (*add)(const float* x, const float* y, float* out, int64_t width, int64_t begin, int64_t end);
  // Half-rotation over each head.
  void (*rope)(const float* x, const RopeTables&, const StepTokens&, int64_t width, int head_dim, float* out, int64_t begin,
               int64_t end);
  // Stores k and v [T, kv_heads * head_dim]; returns the number of values clipped by static scales.
  int64_t (*kv_write)(const float* k, const float* v, const StepTokens&, const KvPages&, int layer, int64_t begin, int64_t end);
  // q/k norm, RoPE, quantize and store K and V, q to q_out; returns clipped values.
  int64_t (*qkv_store)(const QkvStoreArgs&, const StepTokens&, const KvPages&, int64_t begin, int64_t end);
  // One tile and one KV head: all query heads of the group for all tokens of the tile. scratch: attention_scratch_bytes.
  void (*attention)(const AttentionArgs&, const StepTokens&, const KvPages&, const AttentionTile&, int kv_head, void* scratch);
  // out = function(gate) * up; up null: gate is [T, 2 * width], gate then up.
  void (*gated_mul)(Gate function, const float* gate, const float* up, float* out, int64_t width, int64_t begin, int64_t end);
};

const OpKernels& op_kernels(Tier tier);
size_t attention_scratch_bytes(int heads, const KvPages&);

}  // namespace kvant
