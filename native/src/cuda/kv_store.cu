// Writes keys and values into pages. x: one KV head of one token, [head_dim]; one warp each.
//   8-bit, token-head scales   scale = absmax(x) / max_value (float32 division), codes = encode(x / scale); 0 where scale is 0
//   8-bit, static scales       codes = encode(x / scale); values with |x / scale| > max_value saturate and are counted
//   16 and 32 bit              codes = encode(x)
// NaN does not count in absmax and infinity counts as the largest float32, as in packages/formats.
// qkv_store first applies the q/k norm and RoPE. Memory bound: reads 4 bytes and writes one code per value.
#include <cfloat>

#include "cuda/codes.cuh"
#include "cuda/launch.cuh"
#include "cuda/op_kernels.h"
#include "cuda/reduce.cuh"
#include "cuda/rotate.cuh"

namespace kvant::cuda {
namespace {

constexpr int kWarps = 4;

// x: the warp's head, readable by all its lanes.
template <Format format>
__device__ void store_head(const float* x, bool is_key, int head, int64_t t, const StepTokens& tokens, const KvPages& pages,
                           int layer, unsigned long long* saturations) {
  using Code = typename Codes<format>::Code;
  const int lane = threadIdx.x % 32, position = tokens.positions[t];
  const int32_t page = pages.tables[tokens.slots[t] * pages.table_stride + position / pages.page_tokens];
  uint8_t* const base = pages.base + page * pages.page_bytes + layer * pages.layer_bytes;
  const int64_t index = static_cast<int64_t>(head) * pages.page_tokens + position % pages.page_tokens;
  Code* const codes = reinterpret_cast<Code*>(base + (is_key ? pages.k_codes : pages.v_codes)) + index * pages.head_dim;
  if constexpr (sizeof(Code) > 1) {
    for (int i = lane; i < pages.head_dim; i += 32) codes[i] = Codes<format>::encode(x[i]);
  } else {
    const float* const statics = is_key ? pages.k_static : pages.v_static;
    float scale;
    if (statics != nullptr) {
      scale = statics[layer * pages.kv_heads + head];
    } else {
      float most = 0;
      for (int i = lane; i < pages.head_dim; i += 32) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
      scale = fminf(warp_reduce(most, Most()), FLT_MAX) / max_value(format);
      if (lane == 0) reinterpret_cast<float*>(base + (is_key ? pages.k_scales : pages.v_scales))[index] = scale;
    }
    int clipped = 0;
    for (int i = lane; i < pages.head_dim; i += 32) {
      const float quotient = scale == 0 ? 0.0f : x[i] / scale;
      clipped += fabsf(quotient) > max_value(format);
      codes[i] = Codes<format>::encode(quotient);
    }
    if (statics == nullptr) return;
    clipped = warp_reduce(clipped, Sum());
    if (lane == 0 && clipped > 0) atomicAdd(saturations, static_cast<unsigned long long>(clipped));
  }
}

template <Format format>
__global__ void kv_write_kernel(const float* k, const float* v, StepTokens tokens, KvPages pages, int layer,
                                unsigned long long* saturations) {
  let_next_start();
  wait_for_inputs();
  const int64_t item = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  const int64_t t = item / (2 * pages.kv_heads);
  if (t >= tokens.count || tokens.slots[t] < 0) return;
  const int part = static_cast<int>(item % (2 * pages.kv_heads)), head = part % pages.kv_heads;
  const bool is_key = part < pages.kv_heads;
  const float* const x = (is_key ? k : v) + (t * pages.kv_heads + head) * pages.head_dim;
  store_head<format>(x, is_key, head, t, tokens, pages, layer, saturations);
}

// Normalizes and rotates the head `x` into `out`, both [head_dim]; out may be global or shared memory of the warp alone.
__device__ void prepare_head(const float* x, const float* norm, const QkvStoreArgs& args, int64_t position, int head_dim,
                             float* out) {
  const int lane = threadIdx.x % 32, half = head_dim / 2;
  float inverse = 1;
  if (norm != nullptr) {
    double squares = 0;
    for (int i = lane; i < head_dim; i += 32) squares += static_cast<double>(x[i]) * x[i];
    squares = warp_reduce(squares, Sum());
    inverse = static_cast<float>(1.0 / sqrt(squares / head_dim + static_cast<double>(args.epsilon)));
  }
  for (int i = lane; i < half; i += 32) {
    float low = x[i], high = x[half + i];
    if (norm != nullptr) {
      low = low * inverse * norm[i];
      high = high * inverse * norm[half + i];
    }
    if (args.rope.cos != nullptr) {
      const float2 turned = rotate(low, high, args.rope.cos[position * half + i], args.rope.sin[position * half + i]);
      low = turned.x;
      high = turned.y;
    }
    out[i] = low;
    out[half + i] = high;
  }
  __syncwarp();
}

// One warp per token and head of q, k and v in turn, blocks [tokens, parts of the heads]; dynamic shared memory [kWarps, head_dim]
// for keys.
template <Format format>
__global__ void qkv_store_kernel(QkvStoreArgs args, StepTokens tokens, KvPages pages, unsigned long long* saturations) {
  extern __shared__ float keys[];
  let_next_start();
  wait_for_inputs();
  const int head_dim = pages.head_dim, warp = threadIdx.x / 32, all_heads = args.heads + 2 * pages.kv_heads;
  const int64_t t = blockIdx.x;
  const int part = static_cast<int>(blockIdx.y) * kWarps + warp;
  if (part >= all_heads || tokens.slots[t] < 0) return;
  const float* const x = args.qkv + (t * all_heads + part) * head_dim;
  const int position = tokens.positions[t];
  if (part < args.heads) {
    prepare_head(x, args.q_norm, args, position, head_dim, args.q_out + (t * args.heads + part) * head_dim);
  } else if (part < args.heads + pages.kv_heads) {
    float* const key = keys + warp * head_dim;
    prepare_head(x, args.k_norm, args, position, head_dim, key);
    store_head<format>(key, true, part - args.heads, t, tokens, pages, args.layer, saturations);
  } else {
    store_head<format>(x, false, part - args.heads - pages.kv_heads, t, tokens, pages, args.layer, saturations);
  }
}

unsigned blocks_for(int64_t items) { return static_cast<unsigned>((items + kWarps - 1) / kWarps); }

}  // namespace

void kv_write(const float* k, const float* v, const StepTokens& tokens, const KvPages& pages, int layer,
              unsigned long long* saturations, Stream stream) {
  with_format(pages.format, [&](auto tag) {
    launch("kv_write", kv_write_kernel<decltype(tag)::format>, blocks_for(tokens.count * 2 * pages.kv_heads), kWarps * 32, 0, stream, k,
           v, tokens, pages, layer, saturations);
  });
}

void qkv_store(const QkvStoreArgs& args, const StepTokens& tokens, const KvPages& pages, unsigned long long* saturations,
               Stream stream) {
  const dim3 grid(static_cast<unsigned>(tokens.count), blocks_for(args.heads + 2 * pages.kv_heads));
  const size_t shared = static_cast<size_t>(kWarps * pages.head_dim) * sizeof(float);
  with_format(pages.format, [&](auto tag) {
    launch("qkv_store", qkv_store_kernel<decltype(tag)::format>, grid, kWarps * 32, shared, stream, args, tokens, pages,
           saturations);
  });
}

}  // namespace kvant::cuda
