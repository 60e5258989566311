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
#include "cuda/rows.cuh"

namespace kvant::cuda {
namespace {

constexpr int kWarps = 4;

// Calls body<columns>(first column) for the lane's share of a head: four neighbours where heads allow it.
template <class Body>
__device__ __forceinline__ void over_head(int head_dim, const Body& body) {
  if (head_dim % 4 == 0) {
    for (int i = threadIdx.x % 32 * 4; i < head_dim; i += 128) body.template operator()<4>(i);
  } else {
    for (int i = threadIdx.x % 32; i < head_dim; i += 32) body.template operator()<1>(i);
  }
}

template <class Code, int kColumns>
__device__ __forceinline__ void store_codes(Code* to, const Code (&codes)[kColumns]) {
  struct alignas(sizeof(Code) * kColumns) Packed {
    Code codes[kColumns];
  } packed;
#pragma unroll
  for (int j = 0; j < kColumns; j++) packed.codes[j] = codes[j];
  *reinterpret_cast<Packed*>(to) = packed;
}

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
    over_head(pages.head_dim, [&]<int kColumns>(int i) {
      float values[kColumns];
      Code out[kColumns];
      load_columns(x + i, values);
#pragma unroll
      for (int j = 0; j < kColumns; j++) out[j] = Codes<format>::encode(values[j]);
      store_codes(codes + i, out);
    });
  } else {
    const float* const statics = is_key ? pages.k_static : pages.v_static;
    float scale;
    if (statics != nullptr) {
      scale = statics[layer * pages.kv_heads + head];
    } else {
      float most = 0;
      over_head(pages.head_dim, [&]<int kColumns>(int i) {
        float values[kColumns];
        load_columns(x + i, values);
#pragma unroll
        for (int j = 0; j < kColumns; j++) most = fabsf(values[j]) > most ? fabsf(values[j]) : most;
      });
      scale = fminf(warp_reduce(most, Most()), FLT_MAX) / max_value(format);
      if (lane == 0) reinterpret_cast<float*>(base + (is_key ? pages.k_scales : pages.v_scales))[index] = scale;
    }
    int clipped = 0;
    over_head(pages.head_dim, [&]<int kColumns>(int i) {
      float values[kColumns];
      Code out[kColumns];
      load_columns(x + i, values);
#pragma unroll
      for (int j = 0; j < kColumns; j++) {
        const float quotient = scale == 0 ? 0.0f : values[j] / scale;
        clipped += fabsf(quotient) > max_value(format);
        out[j] = Codes<format>::encode(quotient);
      }
      store_codes(codes + i, out);
    });
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

// Calls body<columns>(first column) for the lane's share of half a head: two neighbours where heads allow it.
template <class Body>
__device__ __forceinline__ void over_pairs(int half, const Body& body) {
  if (half % 2 == 0) {
    for (int i = threadIdx.x % 32 * 2; i < half; i += 64) body.template operator()<2>(i);
  } else {
    for (int i = threadIdx.x % 32; i < half; i += 32) body.template operator()<1>(i);
  }
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
  over_pairs(half, [&]<int kColumns>(int i) {
    float low[kColumns], high[kColumns];
    load_columns(x + i, low);
    load_columns(x + half + i, high);
    if (norm != nullptr) {
#pragma unroll
      for (int j = 0; j < kColumns; j++) {
        low[j] = low[j] * inverse * norm[i + j];
        high[j] = high[j] * inverse * norm[half + i + j];
      }
    }
    if (args.rope.cos != nullptr) {
      float cosines[kColumns], sines[kColumns];
      load_columns(args.rope.cos + position * half + i, cosines);
      load_columns(args.rope.sin + position * half + i, sines);
#pragma unroll
      for (int j = 0; j < kColumns; j++) {
        const float2 turned = rotate(low[j], high[j], cosines[j], sines[j]);
        low[j] = turned.x;
        high[j] = turned.y;
      }
    }
    store_columns(out + i, low);
    store_columns(out + half + i, high);
  });
  __syncwarp();
}

// One warp per token and head of q (where it is asked for), k and v in turn, blocks [tokens, parts of the heads]; dynamic shared memory
// [kWarps, head_dim] for keys.
template <Format format>
__global__ void qkv_store_kernel(QkvStoreArgs args, StepTokens tokens, KvPages pages, unsigned long long* saturations) {
  extern __shared__ __align__(16) float keys[];
  let_next_start();
  wait_for_inputs();
  const int head_dim = pages.head_dim, warp = threadIdx.x / 32, all_heads = args.heads + 2 * pages.kv_heads;
  const int64_t t = blockIdx.x;
  const int first_part = args.q_out == nullptr ? args.heads : 0, part = first_part + static_cast<int>(blockIdx.y) * kWarps + warp;
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
  const dim3 grid(static_cast<unsigned>(tokens.count), blocks_for((args.q_out == nullptr ? 0 : args.heads) + 2 * pages.kv_heads));
  const size_t shared = static_cast<size_t>(kWarps * pages.head_dim) * sizeof(float);
  with_format(pages.format, [&](auto tag) {
    launch("qkv_store", qkv_store_kernel<decltype(tag)::format>, grid, kWarps * 32, shared, stream, args, tokens, pages,
           saturations);
  });
}

}  // namespace kvant::cuda
