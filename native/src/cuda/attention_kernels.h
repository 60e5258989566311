#pragma once
#include "cuda/op_kernels.h"

namespace kvant::cuda {

// The kernels that `attention` chooses from. All take device memory.

// attention_exact.cu: any shape and format, float32 sums in an order that depends on positions alone.
void attention_exact(const AttentionArgs& args, const StepTokens& tokens, const KvPages& pages, int split_tokens, void* scratch,
                     Stream stream);
size_t attention_exact_scratch_bytes(int heads, int head_dim, int64_t max_tokens);
void prepare_attention_exact();

// Where outputs go: [T, heads * head_dim] of fp32, bf16 or fp16.
struct AttentionOutput {
  void* rows;
  Format format;
};

// attention_decode.cuh. Tokens per launch; a longer step is several launches.
constexpr int kDecodeTokens = 512;
// What the blocks of a launch share. Partial results of a block: of an item that earlier blocks began, and of one that later
// blocks end.
struct DecodeScratch {
  unsigned* arrived;  // [blocks] by the first block of an item; zero between launches
  float* parts;       // [blocks, 2, kDecodeHeads] x {top, total}
  float* outputs;     // [blocks, 2, kDecodeHeads, head_dim]
};
constexpr int kDecodeHeads = 8;      // most query heads of a work item
constexpr int kDecodeBlocks = 1056;  // most blocks of a launch
struct DecodeLaunch {
  AttentionArgs args;  // but `out`, and `q` where qkv is set
  AttentionOutput output;
  StepTokens tokens;
  int64_t first_token = 0;
  int token_count = 0;       // of this launch, from first_token
  bool skip_long_rows = false;
  // The step's inputs, and what pages hold below each token's own position, are there when the kernel starts: so in a graph,
  // which starts after all that came before it, for rows of one token. Only q and the last position of a row are waited for.
  bool reads_early = false;
  QkvStoreArgs qkv;     // qkv non-null: q comes from there
  bool stores = false;  // keys and values that come with it, first: rows of one token only
  unsigned long long* saturations = nullptr;
  int kv_heads = 0;
  DecodeScratch scratch;
  int multiprocessors = 0;
};
constexpr bool attention_decode_takes(int head_dim) {
  return head_dim == 64 || head_dim == 96 || head_dim == 128 || head_dim == 256;
}
void attention_decode(const DecodeLaunch& launch, const KvPages& pages, Stream stream);
// One file per format: attention_decode_<format>.cu.
void attention_decode_bf16(const DecodeLaunch& launch, const KvPages& pages, Stream stream);
void attention_decode_fp16(const DecodeLaunch& launch, const KvPages& pages, Stream stream);
void attention_decode_e4m3(const DecodeLaunch& launch, const KvPages& pages, Stream stream);
void attention_decode_e5m2(const DecodeLaunch& launch, const KvPages& pages, Stream stream);
void attention_decode_int8(const DecodeLaunch& launch, const KvPages& pages, Stream stream);

// attention_prefill.cuh, on sm_90a: tokens of rows with at least kLongRow tokens in the step; leaves other outputs alone.
constexpr int kPrefillGroup = 64;  // most query heads of a KV head
struct PrefillLaunch {
  AttentionArgs args;  // but `out`, and `q` where qkv is set
  AttentionOutput output;
  StepTokens tokens;
  QkvStoreArgs qkv;  // qkv non-null: q comes from there
  int multiprocessors = 0;
};
void attention_prefill(const PrefillLaunch& launch, const KvPages& pages, Stream stream);
void attention_prefill_bf16(const PrefillLaunch& launch, const KvPages& pages, Stream stream);
void attention_prefill_fp16(const PrefillLaunch& launch, const KvPages& pages, Stream stream);
void attention_prefill_e4m3(const PrefillLaunch& launch, const KvPages& pages, Stream stream);
void attention_prefill_e5m2(const PrefillLaunch& launch, const KvPages& pages, Stream stream);
void attention_prefill_int8(const PrefillLaunch& launch, const KvPages& pages, Stream stream);

}  // namespace kvant::cuda
