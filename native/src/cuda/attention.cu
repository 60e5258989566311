// Which kernels attend. Deterministic mode, float32 pages and unusual head dims: attention_exact. Otherwise tokens of rows that
// bring many tokens to the step go to attention_prefill, and all others to attention_decode; both tell them apart by the same
// rule (kLongRow), on the device.
#include <algorithm>

#include "cuda/attention_kernels.h"
#include "cuda/check.h"
#include "cuda/launch.cuh"
#include "plan/format_names.h"

namespace kvant::cuda {
namespace {

struct Kernels {
  bool exact, decode, prefill;  // where code for sm_90a does not run, decode takes chunks too
};

Kernels kernels_for(const AttentionMode& mode, StepRows rows, const AttentionShape& shape) {
  const bool exact = mode.deterministic || shape.format == Format::fp32 || !attention_decode_takes(shape.head_dim);
  const bool prefill = !exact && rows != StepRows::single && shape.heads / shape.kv_heads <= kPrefillGroup && launches_overlap();
  return {exact, !exact && !(prefill && rows == StepRows::chunks), prefill};
}

// Counters come first, so that nothing else ever writes them.
constexpr size_t kCounterBytes = (kDecodeBlocks * sizeof(unsigned) + 255) / 256 * 256;
constexpr size_t kPartBytes = kDecodeBlocks * 2 * kDecodeHeads * 2 * sizeof(float);

}  // namespace

void attention_decode(const DecodeLaunch& launch, const KvPages& pages, Stream stream) {
  switch (pages.format) {
    case Format::bf16: return attention_decode_bf16(launch, pages, stream);
    case Format::fp16: return attention_decode_fp16(launch, pages, stream);
    case Format::e4m3: return attention_decode_e4m3(launch, pages, stream);
    case Format::e5m2: return attention_decode_e5m2(launch, pages, stream);
    default: return attention_decode_int8(launch, pages, stream);
  }
}

void attention_prefill(const PrefillLaunch& launch, const KvPages& pages, Stream stream) {
  switch (pages.format) {
    case Format::bf16: return attention_prefill_bf16(launch, pages, stream);
    case Format::fp16: return attention_prefill_fp16(launch, pages, stream);
    case Format::e4m3: return attention_prefill_e4m3(launch, pages, stream);
    case Format::e5m2: return attention_prefill_e5m2(launch, pages, stream);
    default: return attention_prefill_int8(launch, pages, stream);
  }
}

AttentionMode attention_mode(int64_t context_length, bool deterministic) {
  AttentionMode mode;
  mode.deterministic = deterministic;
  mode.split_tokens = attention_split_tokens(context_length);
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&mode.multiprocessors, cudaDevAttrMultiProcessorCount, device), "counting multiprocessors");
  mode.multiprocessors = std::min(mode.multiprocessors, kDecodeBlocks / 2);
  return mode;
}

size_t attention_scratch_bytes(const AttentionMode& mode, const AttentionShape& shape, int64_t max_tokens) {
  if (kernels_for(mode, StepRows::any, shape).exact) {
    return kCounterBytes + attention_exact_scratch_bytes(shape.heads, shape.head_dim, max_tokens);
  }
  return kCounterBytes + kPartBytes + size_t{kDecodeBlocks} * 2 * kDecodeHeads * static_cast<size_t>(shape.head_dim) * sizeof(float);
}

void prepare_attention(void* scratch, Stream stream) {
  check(cudaMemsetAsync(scratch, 0, kCounterBytes, stream), "clearing attention's counters");
  prepare_attention_exact();
}

QkvWork attention_work(const AttentionMode& mode, StepRows rows, const AttentionShape& shape) {
  if (kernels_for(mode, rows, shape).exact || shape.head_dim % 64 != 0) return QkvWork::none;
  return rows == StepRows::single ? QkvWork::all : QkvWork::queries;
}

bool attention_rounds(const AttentionMode& mode, const AttentionShape& shape) { return !kernels_for(mode, StepRows::any, shape).exact; }

void attention(const AttentionMode& mode, StepRows rows, const AttentionArgs& args, const StepTokens& tokens, const KvPages& pages,
               const AttentionExtras& extras, void* scratch, Stream stream) {
  auto* const memory = static_cast<uint8_t*>(scratch);
  const Kernels kernels = kernels_for(mode, rows, {pages.format, args.heads, pages.kv_heads, pages.head_dim});
  if (kernels.exact) return attention_exact(args, tokens, pages, mode.split_tokens, memory + kCounterBytes, stream);
  AttentionOutput output = {args.out, Format::fp32};
  if (extras.rounded != nullptr) output = {extras.rounded, extras.rounded_format};
  const QkvStoreArgs qkv = extras.work == QkvWork::none ? QkvStoreArgs() : extras.qkv;
  if (kernels.prefill) attention_prefill({args, output, tokens, qkv, mode.multiprocessors}, pages, stream);
  if (!kernels.decode) return;

  DecodeLaunch launch;
  launch.args = args;
  launch.tokens = tokens;
  launch.skip_long_rows = kernels.prefill;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream, &capture), "asking whether a graph is captured");
  launch.reads_early = capture == cudaStreamCaptureStatusActive && rows == StepRows::single;
  launch.multiprocessors = mode.multiprocessors;
  launch.output = output;
  launch.qkv = qkv;
  launch.stores = extras.work == QkvWork::all;
  launch.saturations = extras.saturations;
  launch.kv_heads = pages.kv_heads;
  launch.scratch.arrived = reinterpret_cast<unsigned*>(memory);
  launch.scratch.parts = reinterpret_cast<float*>(memory + kCounterBytes);
  launch.scratch.outputs = reinterpret_cast<float*>(memory + kCounterBytes + kPartBytes);
  for (int64_t first = 0; first < tokens.count; first += kDecodeTokens) {
    launch.first_token = first;
    launch.token_count = static_cast<int>(std::min<int64_t>(kDecodeTokens, tokens.count - first));
    attention_decode(launch, pages, stream);
  }
}

std::string attention_variant(const AttentionMode& mode, StepRows rows, const AttentionShape& shape) {
  const Kernels kernels = kernels_for(mode, rows, shape);
  const char* const name = kernels.exact ? "exact" : !kernels.prefill ? "decode" : kernels.decode ? "decode+prefill" : "prefill";
  return std::string("attention_") + format_name(shape.format) + "_cuda-" + name;
}

}  // namespace kvant::cuda
