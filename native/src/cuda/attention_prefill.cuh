#pragma once
// out[t, h] = sum_j softmax_j(scale * q[t, h] . k[j]) v[j] for rows that bring many tokens to a step (kLongRow), on sm_90a.
// A block takes kRows query rows, the tokens of a stretch of the step times the query heads of one KV head, and walks the tiles
// of 64 positions that they see: S = Q K^T, then O += P V, both as warpgroup steps over swizzled shared memory.
// One warpgroup produces: it loads stored codes, turns them into operands (fp16, or bf16 for bf16 pages; INT8 keys stay as they
// are) and V into rows of positions. One makes the queries of the next rows meanwhile. The others, 64 query rows each, multiply; S of a
// tile runs while O of the one before does.
// q (INT8 pages: INT8 per token and head; fp16: by a power of two per row) and the softmax weights are rounded once.
// Weights enter as p * v_scale / unit * 2^7 with p < 2^8: see attention_decode.cuh.
// Positions outside the visible range of the block enter as zeros and are not read.
// Compute bound: 4 * head_dim operations per query head and position seen.
#include <type_traits>

#include "cuda/attention_kernels.h"
#include "cuda/attention_rows.cuh"
#include "cuda/attention_warpgroup.cuh"
#include "cuda/codes.cuh"
#include "cuda/reduce.cuh"

namespace kvant::cuda {
namespace prefill {

constexpr int kTile = 64;           // positions
constexpr int kBlockBytes = 8192;   // 64 rows of 128 bytes: what an operand consists of
constexpr int kProducers = 128, kQueriers = 128;  // threads
constexpr int kQueryPasses = 2;                   // of queriers, on their way

template <Format stored_format, int dims>
struct Shape {
  static constexpr Format format = stored_format;
  static constexpr int head_dim = dims;
  static constexpr int kSize = bits(format) / 8;
  static constexpr bool kScaled = kSize == 1, kInt8 = format == Format::int8, kBf16 = kIsBf16<format>;
  static constexpr int kConsumers = head_dim > 128 ? 1 : 2;  // warpgroups; registers bound them
  static constexpr int kRows = 64 * kConsumers;              // query rows of a block
  static constexpr int kFirstConsumer = kProducers + kQueriers, kThreads = kFirstConsumer + 128 * kConsumers;
  static constexpr int kRegisters = launch_registers(kThreads), kProducerRegisters = head_dim > 128 ? 192 : 104;
  static constexpr int kQuerierRegisters = 56, kConsumerRegisters = head_dim > 128 ? 248 : 176;
  static_assert(kProducers * kProducerRegisters + kQueriers * kQuerierRegisters + 128 * kConsumers * kConsumerRegisters <= kThreads * kRegisters);
  static constexpr int kStages = head_dim > 128 ? 2 : 3;
  static constexpr int kRow = head_dim * kSize;                     // bytes of a position's codes
  static constexpr int kKeyRow = head_dim * (kInt8 ? 1 : 2);        // bytes of an operand's row
  static constexpr int kKeyBlocks = (kKeyRow + 127) / 128;          // [kKeyBlocks][64 rows][128 bytes]
  static constexpr int kSteps = kKeyRow / 32;                       // over head_dim
  static constexpr int kKeyBytes = kKeyBlocks * kBlockBytes;
  static constexpr int kStage = kKeyBytes + head_dim * 128;         // keys, then values [head_dim][64 positions]
  static constexpr int kQueryBytes = kConsumers * kKeyBytes;
  // A querier's pass: so many lanes share a row, each some vectors of four numbers, and as many of cosines and sines where
  // rows are turned.
  static constexpr bool kTurns = head_dim % 64 == 0;
  static constexpr int kRowLanes = kTurns ? head_dim / 16 : 8, kRowVectors = head_dim / (4 * kRowLanes);
  static constexpr int kAngleVectors = kTurns ? kRowVectors : 0;
  // A producer's unit: 4 positions x kChunk numbers.
  static constexpr int kChunk = kSize == 1 && head_dim % 128 == 0 ? 16 : 8;
  static constexpr int kChunks = head_dim / kChunk;
  static constexpr int kAllUnits = kTile / 4 * kChunks, kUnits = (kAllUnits + kProducers - 1) / kProducers;
  static constexpr int kWords = kChunk * kSize / 4;
  // Tiles on their way in registers: as many as fit.
  static constexpr int kSets = kChunks % 8 == 0 && kUnits * 8 * kWords <= 32 ? 2 : 1;

  // Byte of number `dim` in a row of the operands of S. Numbers are permuted so that producers store without bank conflicts.
  static __device__ int key_byte(int dim) {
    if constexpr (kSize == 1 && !kInt8) return (dim % kChunk / 8 * kChunks + dim / kChunk) * 16 + dim % 8 * 2;
    return dim * (kInt8 ? 1 : 2);
  }
  // Row of number `dim` in V's operand, for the same reason: the column of O.
  static __device__ int value_row(int dim) { return dim % kChunk * kChunks + dim / kChunk; }
  static __device__ int dim_of_column(int column) { return column % kChunks * kChunk + column / kChunks; }
};

// Where a byte of a row lies in an operand's blocks.
__device__ __forceinline__ int swizzled(int row, int byte) {
  return byte / 128 * kBlockBytes + row * 128 + ((byte % 128) ^ ((row & 7) << 4));
}

// Neighbouring tokens of one row inside a block's stretch of the step.
struct Run {
  int64_t first;                 // token
  int tokens, slot, position;    // position: of the first
  int lowest, highest;           // positions that any of them sees
  int first_tile, end_tile;
};

// The next run of a long row in [at, end); whole warps call.
__device__ inline bool next_run(const StepTokens& tokens, int window, int64_t& at, int64_t end, Run& run) {
  const int lane = threadIdx.x % 32;
  while (at < end) {
    run.first = at;
    run.slot = tokens.slots[at], run.position = tokens.positions[at];
    unsigned same;
    do {
      const int64_t i = at + lane;
      same = __ballot_sync(0xffffffffu, i < end && tokens.slots[i] == run.slot);
      at += same == 0xffffffffu ? 32 : __ffs(static_cast<int>(~same)) - 1;
    } while (same == 0xffffffffu);
    run.tokens = static_cast<int>(at - run.first);
    if (run.slot < 0 || (run.tokens < kLongRow && !in_long_row(tokens, run.first))) continue;
    run.lowest = lowest_position(run.position, window);
    run.highest = run.position + run.tokens - 1;
    run.first_tile = run.lowest / kTile;
    run.end_tile = run.highest / kTile + 1;
    return true;
  }
  return false;
}

template <int words>
__device__ __forceinline__ void load_global(uint32_t (&to)[words], const uint8_t* from) {
  if constexpr (words == 4) {
    const uint4 x = __ldcg(reinterpret_cast<const uint4*>(from));
    to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
  } else {
    const uint2 x = __ldcg(reinterpret_cast<const uint2*>(from));
    to[0] = x.x, to[1] = x.y;
  }
}

// What queriers leave for the consumers beside the operands. tokens 0 in `run`: the block's work is done.
template <class S>
struct Work {
  Run run;
  int kv_head;
  float scales[S::kRows];  // turn a query row's scores into those of q
};

// Shared memory of a block, from the first multiple of 1024 on. Queries are two deep: the next run's are made during this one.
template <class S>
struct Memory {
  uint8_t queries[2][S::kQueryBytes];  // operands, [kConsumers][kKeyBlocks][64][128 bytes]
  uint8_t stages[S::kStages][S::kStage];
  // What queriers read, each its own. (No more: with less than some 60 KiB of first-level cache, producers have less in flight.)
  float4 ahead[kQueryPasses * S::kRowVectors + S::kAngleVectors][kQueriers];
  float scales[S::kStages][2 * kTile + 4];  // of keys, of values, and the largest of each 32
  Work<S> work[2];
  uint64_t full[S::kStages], empty[S::kStages], queries_full[2], queries_empty[2];  // barriers
};

// One of the producing threads: holds the codes of kSets tiles between loading and storing them.
template <class S>
class Producer {
 public:
  __device__ Producer(const Run& run, int kv_head, const AttentionArgs& args, const KvPages& pages)
      : run_(run), pages_(pages), table_(pages.tables + run.slot * pages.table_stride), thread_(threadIdx.x % kProducers) {
    const uint8_t* const layer = pages.base + args.layer * pages.layer_bytes;
    codes_ = layer + int64_t{kv_head} * pages.page_tokens * S::kRow;
    page_shift_ = __ffs(pages.page_tokens) - 1;
    scales_ = layer + int64_t{kv_head} * pages.page_tokens * 4 + (thread_ < kTile ? pages.k_scales : pages.v_scales);
    find_pages(run.first_tile);
  }

  // Begins to read a tile, and the page numbers of the next. Tiles come in order, sets in turn.
  template <int set>
  __device__ void load(int tile) {
    auto& keys = keys_[set];
    auto& values = values_[set];
    const bool inside = tile * kTile >= run_.lowest && tile * kTile + kTile - 1 <= run_.highest;
#pragma unroll
    for (int u = 0; u < S::kUnits; u++) {
      int quad, chunk;
      if (!place(u, quad, chunk)) continue;
      const int position = tile * kTile + quad * 4;
      const uint8_t* const from =
          codes_ + numbers_[u] * pages_.page_bytes + (position & (pages_.page_tokens - 1)) * S::kRow + chunk * S::kChunk * S::kSize;
#pragma unroll
      for (int i = 0; inside && i < 4; i++) {
        load_global(keys[u][i], from + pages_.k_codes + i * S::kRow);
        load_global(values[u][i], from + pages_.v_codes + i * S::kRow);
      }
      if (inside) continue;
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const bool seen = position + i >= run_.lowest && position + i <= run_.highest;
#pragma unroll
        for (int w = 0; w < S::kWords; w++) keys[u][i][w] = values[u][i][w] = 0;
        if (!seen) continue;
        load_global(keys[u][i], from + pages_.k_codes + i * S::kRow);
        load_global(values[u][i], from + pages_.v_codes + i * S::kRow);
      }
    }
    if constexpr (S::kScaled) {
      const int position = tile * kTile + thread_ % kTile;
      const bool seen = position >= run_.lowest && position <= run_.highest;
      scales_of_[set] = pages_.k_static != nullptr ? 1 : 0;
      if (pages_.k_static == nullptr && seen) {
        scales_of_[set] = __ldcg(reinterpret_cast<const float*>(scales_ + scale_number_ * pages_.page_bytes) + (position & (pages_.page_tokens - 1)));
      }
    }
    find_pages(tile + 1);
  }

  // stage: operands of keys and values; scales: [2, 64] and the largest of each quarter.
  template <int set>
  __device__ void store(uint8_t* stage, float* scales) const {
#pragma unroll
    for (int u = 0; u < S::kUnits; u++) {
      int quad, chunk;
      if (!place(u, quad, chunk)) continue;
#pragma unroll
      for (int i = 0; i < 4; i++) store_key(stage, quad * 4 + i, chunk, keys_[set][u][i]);
      uint8_t* const operand = stage + S::kKeyBytes;
#pragma unroll
      for (int w = 0; w < S::kWords; w++) {
        constexpr int kNumbers = 4 / S::kSize;
        uint32_t first[kNumbers], second[kNumbers];
        interleave<S::format>(values_[set][u][0][w], values_[set][u][1][w], first);
        interleave<S::format>(values_[set][u][2][w], values_[set][u][3][w], second);
#pragma unroll
        for (int i = 0; i < kNumbers; i++) {
          const int row = (w * kNumbers + i) * S::kChunks + chunk;
          *reinterpret_cast<uint2*>(operand + row * 128 + ((quad * 8) ^ ((row & 7) << 4))) = {first[i], second[i]};
        }
      }
    }
    if constexpr (S::kScaled) {
      scales[thread_] = scales_of_[set];
      const float most = warp_reduce(scales_of_[set], Most());
      if (thread_ % 32 == 0) scales[2 * kTile + thread_ / 32] = most;
    }
  }

 private:
  // Lanes that store together hold 8 chunks of 2 neighbouring quads.
  __device__ bool place(int u, int& quad, int& chunk) const {
    const int unit = thread_ + u * kProducers;
    if constexpr (S::kChunks % 8 == 0) {
      const int rest = unit / 16;
      chunk = rest % (S::kChunks / 8) * 8 + unit % 8;
      quad = rest / (S::kChunks / 8) * 2 + unit / 8 % 2;
    } else {
      chunk = unit % S::kChunks;
      quad = unit / S::kChunks;
    }
    return S::kAllUnits % kProducers == 0 || unit < S::kAllUnits;
  }

  // Of the page that holds positions [position, position + count); a quad lies in one page.
  __device__ int page_number(int position, int count) const {
    const bool seen = position + count > run_.lowest && position <= run_.highest;
    return seen ? table_[position >> page_shift_] : 0;
  }
  __device__ void find_pages(int tile) {
#pragma unroll
    for (int u = 0; u < S::kUnits; u++) {
      int quad, chunk;
      numbers_[u] = place(u, quad, chunk) ? page_number(tile * kTile + quad * 4, 4) : 0;
    }
    if constexpr (S::kScaled) scale_number_ = page_number(tile * kTile + thread_ % kTile, 1);
  }

  static __device__ void store_key(uint8_t* keys, int row, int chunk, const uint32_t (&words)[S::kWords]) {
    if constexpr (S::kInt8 || S::kSize == 2) {
      uint8_t* const to = keys + swizzled(row, chunk * S::kWords * 4);
      if constexpr (S::kWords == 4) *reinterpret_cast<uint4*>(to) = {words[0], words[1], words[2], words[3]};
      else *reinterpret_cast<uint2*>(to) = {words[0], words[1]};
    } else {
#pragma unroll
      for (int piece = 0; piece < S::kChunk / 8; piece++) {
        uint4 x;
        fp16_quad<S::format>(words[2 * piece], x.x, x.y);
        fp16_quad<S::format>(words[2 * piece + 1], x.z, x.w);
        *reinterpret_cast<uint4*>(keys + swizzled(row, (piece * S::kChunks + chunk) * 16)) = x;
      }
    }
  }

  const Run& run_;
  const KvPages& pages_;
  const int32_t* table_;
  const uint8_t *codes_, *scales_;
  int thread_, page_shift_;
  int numbers_[S::kUnits], scale_number_;
  uint32_t keys_[S::kSets][S::kUnits][4][S::kWords], values_[S::kSets][S::kUnits][4][S::kWords];
  float scales_of_[S::kSets];
};

}  // namespace prefill
}  // namespace kvant::cuda
