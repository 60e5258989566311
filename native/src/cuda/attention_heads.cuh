#pragma once
// The heads of the step itself in decode: queries become operands of S, and where attention also stores, the token's key and
// value go to its page before they are read from there.
#include <cfloat>
#include <cmath>

#include "cuda/attention_mma.cuh"
#include "cuda/attention_shares.cuh"
#include "cuda/codes.cuh"
#include "cuda/rotate.cuh"

namespace kvant::cuda {
namespace decode {

// Whether this is the code that runs where launches do not overlap.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
constexpr bool kIsPortable = true;
#else
constexpr bool kIsPortable = false;
#endif

// column_tiles: mma column tiles, 4 heads each.
template <Format format, int head_dim, int column_tiles>
struct Shape {
  static constexpr int kHeadDim = head_dim;
  static constexpr int kSize = bits(format) / 8;
  static constexpr bool kScaled = kSize == 1;
  static constexpr int kRow = head_dim * kSize;    // bytes of a position's K or V codes
  static constexpr int kCodes = kTile * kRow;      // bytes of a tile's K or V codes
  static constexpr int kStage = 2 * kCodes + (kScaled ? 2 * kTile * 4 : 0);  // K codes, V codes, K scales, V scales
  static constexpr int kHeads = 4 * column_tiles;
  static constexpr int kWarps = kCodes > 4096 ? 2 : kCodes > 2048 || column_tiles > 1 ? 4 : 8;
  static constexpr int kThreads = kWarps * 32;
  // A block of portable code gets 99 KiB on 8.6, 8.9 and 12.x, of which kStaticBytes are for what is static.
  static constexpr int kStaticBytes = 14 * 1024;
  static constexpr int stages(bool portable) {
    const int ring = (99 * 1024 - (portable ? kStaticBytes : 0)) / (kWarps * kStage);
    return ring < 6 ? ring : 6;
  }
  static constexpr int kStages = stages(kIsPortable);
  static constexpr int kBlocksPerSm = 2;
  static constexpr int kMergeRow = head_dim + 4;  // floats; keeps lanes of different heads in different banks
  static constexpr int kMergeBytes = kWarps * kHeads * (kMergeRow + 2) * 4;
  static constexpr int shared_bytes(bool portable) {
    const int ring = kWarps * stages(portable) * kStage;
    return ring > kMergeBytes ? ring : kMergeBytes;
  }

  static constexpr bool kInt8 = format == Format::int8;
  static constexpr int kSteps = head_dim / (kInt8 ? 32 : 16);            // mma steps over head_dim
  static constexpr int kParts = kIsBf16<format> ? 2 : 1;                 // column pairs that carry q, and the weights
  static constexpr int kUnitWords = kRow / 4 % 16 == 0 ? 4 : 2;          // a lane's load of K
  static constexpr int kUnits = kRow / 16 / kUnitWords;                  // of them per row
  static constexpr int kStepWords = kInt8 || kSize == 2 ? 2 : 1;         // of a row per mma step
  static constexpr int kStepDims = kInt8 ? 8 : 4;                        // per lane
  static constexpr int kValueWords = kRow / 32;                          // a lane's words of V per position
  static constexpr int kValueLoad = kValueWords % 4 == 0 ? 4 : kValueWords % 2 == 0 ? 2 : 1;
  static constexpr int kChunk = kValueLoad * 4 / kSize;                  // numbers of one such load
  static constexpr int kValues = head_dim / 8;                           // numbers of an output that a lane holds

  static_assert(head_dim % 32 == 0 && kStages >= 2);
  static_assert(kUnits * kUnitWords / kStepWords == kSteps);

  // Where byte `column` of row `row` of a tile's codes lies; lanes that load together find different banks.
  static __device__ int at(int row, int column) {
    if constexpr (kRow % 128 == 0) return row * kRow + (column ^ ((row & 6) << 4) ^ ((row & 1) << 6));
    if constexpr (kRow == 64) return (row >> 1) * 128 + (((row & 1) * 64 + column) ^ ((row & 6) << 4));
    return row * kRow + column;
  }
  // The output that a lane's value v is.
  static __device__ int output_dim(int v, int g) { return (v / kChunk * 8 + g) * kChunk + v % kChunk; }
};

struct Item {
  int64_t token;
  int slot, kv_head, first_head, heads;
  int lowest, highest;       // positions seen
  int first_tile, end_tile;  // of this block's share
};

// The item's queries in shared memory: rows of codes, or of parts that add up to q (high, low and, for bf16, lowest).
template <class S>
struct Queries {
  static constexpr int kRows = S::kInt8 ? 1 : S::kParts + 1;
  static constexpr int kBytes = S::kInt8 ? 1 : 2;  // of a number
  uint8_t rows[S::kHeads][kRows][S::kHeadDim * kBytes + 16];  // 16: rows in different banks
  float scales[S::kHeads];                                    // turn logits into those of q
};

// Key and value of the step's own token as stored: they reach the ring from here, not by way of the page.
template <class S>
struct Fresh {
  uint8_t codes[2][S::kRow];
  float scales[2];
};

// What a warp reads of the step's own heads: queries of the item, and, where attention also stores (DecodeLaunch::stores), the key
// and the value of the token. Between reading them and leaving them lies the wait for other warps' loads.
template <class S, Format format>
class HeadLoad {
 public:
  // stores: the block owns the token's position of this KV head. Reads what does not depend on the step's activations.
  __device__ HeadLoad(const Item& item, const DecodeLaunch& launch, const KvPages& pages, bool stores)
      : item_(item), launch_(launch), stores_(stores) {
    if (stores) page_ = pages.tables[item.slot * pages.table_stride + item.highest / pages.page_tokens];
    if (launch.qkv.qkv == nullptr || launch.qkv.rope.cos == nullptr) return;
    const int64_t at = int64_t{item.highest} * (S::kHeadDim / 2) + threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < kValues / 2; j++) {
      cos_[j] = launch.qkv.rope.cos[at + j * 32];
      sin_[j] = launch.qkv.rope.sin[at + j * 32];
    }
  }

  __device__ void read() {
    const bool turns = launch_.qkv.qkv != nullptr;
    const int heads = launch_.args.heads, kv_heads = launch_.kv_heads;
    const float* const row = turns ? launch_.qkv.qkv + item_.token * (heads + 2 * kv_heads) * S::kHeadDim : launch_.args.q + item_.token * heads * S::kHeadDim;
#pragma unroll
    for (int i = 0; i < kEach; i++) {
      const int task = task_of(i);
      const int head = task < S::kHeads ? item_.first_head + task : heads + (task - S::kHeads) * kv_heads + item_.kv_head;
      const bool reads = task < S::kHeads ? task < item_.heads : stores_ && task < kTasks;
#pragma unroll
      for (int j = 0; j < kValues; j++) x_[i][j] = reads ? row[head * S::kHeadDim + j * 32 + threadIdx.x % 32] : 0;
    }
  }

  __device__ void leave(Queries<S>& queries, Fresh<S>& fresh, const KvPages& pages, bool counts) {
    const QkvStoreArgs& qkv = launch_.qkv;
#pragma unroll
    for (int i = 0; i < kEach; i++) {
      const int task = task_of(i);
      if (task >= kTasks) break;
      if constexpr (kFuses) {
        if (task < S::kHeads ? qkv.qkv != nullptr : task == S::kHeads && stores_) prepare(x_[i], task < S::kHeads ? qkv.q_norm : qkv.k_norm);
        if (task >= S::kHeads && stores_) store(x_[i], task == S::kHeads, fresh, pages, counts);
      }
      if (task < S::kHeads) leave_query(x_[i], task, queries);
    }
  }

 private:
  static constexpr int kValues = S::kHeadDim / 32;
  static constexpr bool kFuses = kValues % 2 == 0;  // lanes hold both numbers of a pair
  static constexpr int kTasks = S::kHeads + (kFuses ? 2 : 0), kEach = (kTasks + S::kWarps - 1) / S::kWarps;

  static __device__ int task_of(int i) { return static_cast<int>(threadIdx.x) / 32 + i * S::kWarps; }

  // The arithmetic of kv_store.cu, number by number.
  __device__ void prepare(float (&x)[kValues], const float* norm) const {
    const int lane = threadIdx.x % 32;
    if (norm != nullptr) {
      double squares = 0;
#pragma unroll
      for (int j = 0; j < kValues; j++) squares += static_cast<double>(x[j]) * x[j];
      squares = warp_reduce(squares, Sum());
      const auto inverse = static_cast<float>(1.0 / sqrt(squares / S::kHeadDim + static_cast<double>(launch_.qkv.epsilon)));
#pragma unroll
      for (int j = 0; j < kValues; j++) x[j] = x[j] * inverse * norm[j * 32 + lane];
    }
    if (launch_.qkv.rope.cos == nullptr) return;
#pragma unroll
    for (int j = 0; j < kValues / 2; j++) {
      const float2 turned = rotate(x[j], x[j + kValues / 2], cos_[j], sin_[j]);
      x[j] = turned.x;
      x[j + kValues / 2] = turned.y;
    }
  }

  __device__ void store(const float (&x)[kValues], bool is_key, Fresh<S>& fresh, const KvPages& pages, bool counts) const {
    using Code = typename Codes<format>::Code;
    const int lane = threadIdx.x % 32;
    uint8_t* const base = pages.base + int64_t{page_} * pages.page_bytes + launch_.args.layer * pages.layer_bytes;
    const int64_t index = int64_t{item_.kv_head} * pages.page_tokens + item_.highest % pages.page_tokens;
    Code* const codes = reinterpret_cast<Code*>(base + (is_key ? pages.k_codes : pages.v_codes)) + index * S::kHeadDim;
    float scale = 1;
    if constexpr (S::kScaled) {
      const float* const statics = is_key ? pages.k_static : pages.v_static;
      if (statics != nullptr) {
        scale = statics[launch_.args.layer * pages.kv_heads + item_.kv_head];
      } else {
        scale = fminf(warp_reduce(most_of(x), Most()), FLT_MAX) / max_value(format);
        if (lane == 0) reinterpret_cast<float*>(base + (is_key ? pages.k_scales : pages.v_scales))[index] = scale;
        if (lane == 0) fresh.scales[is_key ? 0 : 1] = scale;
      }
    }
    int clipped = 0;
#pragma unroll
    for (int j = 0; j < kValues; j++) {
      const float quotient = !S::kScaled ? x[j] : scale == 0 ? 0.0f : x[j] / scale;
      clipped += S::kScaled && fabsf(quotient) > max_value(format);
      const Code code = Codes<format>::encode(quotient);
      codes[j * 32 + lane] = code;
      reinterpret_cast<Code*>(fresh.codes[is_key ? 0 : 1])[j * 32 + lane] = code;
    }
    if (!S::kScaled || pages.k_static == nullptr || !counts) return;
    clipped = warp_reduce(clipped, Sum());
    if (lane == 0 && clipped > 0) atomicAdd(launch_.saturations, static_cast<unsigned long long>(clipped));
  }

  static __device__ float most_of(const float (&x)[kValues]) {
    float most = 0;
#pragma unroll
    for (int j = 0; j < kValues; j++) most = fabsf(x[j]) > most ? fabsf(x[j]) : most;
    return most;
  }

  static __device__ void leave_query(const float (&x)[kValues], int head, Queries<S>& queries) {
    const int lane = threadIdx.x % 32;
    float scale = 1;
    if constexpr (!kIsBf16<format>) {
      const float most = fminf(warp_reduce(most_of(x), Most()), FLT_MAX);
      scale = S::kInt8 ? most / max_value(format) : fp16_scale(most);
    }
    if (lane == 0) queries.scales[head] = scale;
    const float inverse = 1 / scale;  // exact: a power of two
#pragma unroll
    for (int j = 0; j < kValues; j++) {
      const int d = j * 32 + lane;
      if constexpr (S::kInt8) {
        queries.rows[head][0][d] = scale > 0 ? Codes<Format::int8>::encode(x[j] / scale) : 0;
      } else {
        float rest = x[j] * inverse;
#pragma unroll
        for (int part = 0; part < Queries<S>::kRows; part++) {
          reinterpret_cast<uint16_t*>(queries.rows[head][part])[d] = static_cast<uint16_t>(pack<kIsBf16<format>>(rest, 0));
          rest -= rounded<kIsBf16<format>>(rest);
        }
      }
    }
  }

  const Item& item_;
  const DecodeLaunch& launch_;
  const bool stores_;
  int page_ = 0;  // that holds the token's position
  float x_[kEach][kValues], cos_[kValues], sin_[kValues];
};

// The operands B of S for one column tile: columns 2t and 2t + 1 are head t of it.
template <class S>
__device__ void load_columns(const Queries<S>& queries, int column_tile, uint32_t (&b)[S::kSteps * S::kParts][2]) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  constexpr int kUnitDims = S::kUnitWords * 4 / S::kSize, kUnitSteps = S::kUnitWords / S::kStepWords;
  const auto& rows = queries.rows[column_tile * 4 + g / 2];
#pragma unroll
  for (int step = 0; step < S::kSteps; step++) {
    const int dim = (step / kUnitSteps * 4 + t) * kUnitDims + step % kUnitSteps * S::kStepDims;
    const auto words = [&](int row) { return *reinterpret_cast<const uint2*>(rows[row] + dim * Queries<S>::kBytes); };
    const uint2 zero = {0, 0};
    const uint2 x = S::kInt8 ? (g % 2 == 0 ? words(0) : zero) : words(g % 2);
    b[step * S::kParts][0] = x.x, b[step * S::kParts][1] = x.y;
    if constexpr (S::kParts == 2) {
      const uint2 y = g % 2 == 0 ? words(2) : zero;
      b[step * 2 + 1][0] = y.x, b[step * 2 + 1][1] = y.y;
    }
  }
}

}  // namespace decode
}  // namespace kvant::cuda
