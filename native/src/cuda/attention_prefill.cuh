#pragma once
// out[t, h] = sum_j softmax_j(scale * q[t, h] . k[j]) v[j] for rows that bring many tokens to a step (kLongRow), on sm_90a.
// A block takes kRows query rows, the tokens of a stretch of the step times the query heads of one KV head, and walks the tiles
// of 64 positions that they see: S = Q K^T, then O += P V, both as warpgroup steps over swizzled shared memory. Both operands of a tile
// are rows of positions, as pages hold them.
// One warpgroup produces. What the tensor cores take as it is stored (INT8 keys; keys and values of 16 bits, but those of heads of 256)
// it copies to shared memory; the rest passes through registers, where 8 bits become fp16. One makes the queries of the next rows
// meanwhile. The others, 64 query rows each, multiply; S of a tile runs while O of the one before does.
// q (INT8 pages: INT8 per token and head; fp16: by a power of two per row) and the softmax weights are rounded once.
// Weights enter as p * gain * v_scale, at most 2^15 over fp16 operands, and their sum as p * gain, so that outputs are free of the gain:
// 2^7 / unit over pages of 8 bits, 2^7 over fp16, 1 over bf16. unit is a power of two, at least the largest v_scale so far, between
// 2^-90 and 2^90: v_scale is divided by kValueShift here, so that the sum of 2^22 weights p * 2^7 / unit is finite and that of any
// holds. A v_scale below 2^-78 (V of 1e-22) loses bits, one below 2^-92 all.
// Positions outside the visible range of the block enter as zeros and are not read.
// Compute bound: 4 * head_dim operations per query head and position seen.
#include <algorithm>
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
constexpr float kValueShift = 0x1p32f;

template <Format stored_format, int dims>
struct Shape {
  static constexpr Format format = stored_format;
  static constexpr int head_dim = dims;
  static constexpr int kSize = bits(format) / 8;
  static constexpr bool kScaled = kSize == 1, kInt8 = format == Format::int8, kBf16 = kIsBf16<format>;
  static constexpr int kConsumers = head_dim > 128 ? 1 : 2;  // warpgroups; registers bound them
  static constexpr int kRows = 64 * kConsumers;              // query rows of a block
  static constexpr int kFirstConsumer = kProducers + kQueriers, kThreads = kFirstConsumer + 128 * kConsumers;

  // Operands, blocks of 64 rows of 128 bytes: keys (and queries) [kKeyBlocks], values [kValueBlocks] of 64 numbers of each position.
  static constexpr int kRow = head_dim * kSize;               // bytes of a position's codes
  static constexpr int kKeyRow = head_dim * (kInt8 ? 1 : 2);  // bytes of an operand's row
  static constexpr int kKeyBlocks = (kKeyRow + 127) / 128, kValueBlocks = (head_dim + 63) / 64;
  static constexpr int kSteps = kKeyRow / 32;  // over head_dim
  static constexpr int kKeyBytes = kKeyBlocks * kBlockBytes;
  static constexpr int kStage = kKeyBytes + kValueBlocks * kBlockBytes;
  static constexpr int kQueryBytes = kConsumers * kKeyBytes;

  // Producers read so many tiles ahead, what needs no turning by copies where there is room: those need a stage that is free, of which
  // consumers hold two. All else waits in registers.
  static constexpr bool kKeysAsStored = kInt8 || !kScaled;
  static constexpr bool kCopies = kInt8 || (!kScaled && head_dim <= 128), kCopiesValues = kCopies && !kScaled;
  static constexpr int kStages = head_dim > 128 ? (kInt8 ? 3 : 2) : !kCopies ? 3 : kInt8 ? 5 : 4;
  static constexpr int kAhead = head_dim > 128 || (!kCopies && head_dim > 64) ? 1 : 2;

  // A querier's pass: so many lanes share a row, each some vectors of four numbers, and as many of cosines and sines where
  // rows are turned.
  static constexpr bool kTurns = head_dim % 64 == 0;
  static constexpr int kRowLanes = kTurns ? head_dim / 16 : 8, kRowVectors = head_dim / (4 * kRowLanes);
  static constexpr int kAngleVectors = kTurns ? kRowVectors : 0;

  static constexpr int kRegisters = launch_registers(kThreads), kQuerierRegisters = 56;
  static constexpr int kProducerRegisters =
      head_dim > 128 ? 200 : kInt8 || !kScaled || head_dim == 96 ? 104 : head_dim == 64 ? 96 : 88;
  static constexpr int kConsumerRegisters =
      std::min(248, (kThreads * kRegisters / 128 - kQuerierRegisters - kProducerRegisters) / kConsumers / 8 * 8);
};

// Where a byte of a row lies in an operand's blocks.
__device__ __forceinline__ int swizzled(int row, int byte) {
  return byte / 128 * kBlockBytes + row * 128 + ((byte % 128) ^ ((row & 7) << 4));
}

// Keeps a value in a register, where the compiler would derive it again.
template <class Value>
__device__ __forceinline__ Value kept(Value value) {
  asm volatile("" : "+r"(value));
  return value;
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

// What queriers leave for the consumers beside the operands. tokens 0 in `run`: the block's work is done.
template <class S>
struct Work {
  Run run;
  int kv_head;
  float scales[S::kRows];  // turn a query row's scores into those of q
};

// Scales of a tile's keys, then of its values, in the order in which consumers take them: lane t of four those of positions 8j + 2t and
// 8j + 2t + 1.
struct alignas(16) TileScales {
  static constexpr int kStride = 20, kValues = 4 * kStride;  // numbers of a t: 16, and lanes find different banks; of the keys
  float scales[2 * kValues];
  float most[4];  // of each 16 values
  static __device__ int place(int position) { return position / 2 % 4 * kStride + position / 8 * 2 + position % 2; }
};

// Shared memory of a block, from the first multiple of 1024 on. Queries are two deep: the next run's are made during this one.
template <class S>
struct Memory {
  uint8_t queries[2][S::kQueryBytes];  // operands, [kConsumers][kKeyBlocks][64][128 bytes]
  uint8_t stages[S::kStages][S::kStage];
  // What queriers read, each its own. (No more: where codes wait in registers, less than some 60 KiB of
  // first-level cache leaves less of them in flight.)
  float4 ahead[kQueryPasses * S::kRowVectors + S::kAngleVectors][kQueriers];
  TileScales scales[S::kStages];
  Work<S> work[2];
  uint64_t full[S::kStages], empty[S::kStages], queries_full[2], queries_empty[2];  // barriers
};

// The work of a block, in turn: the runs of stretches of kRows / group tokens, for a KV head. The last stretches, which see most, come
// first; every other round of the grid is dealt backwards, which evens it out.
class Deal {
 public:
  __device__ Deal(const StepTokens& tokens, const KvPages& pages, int each)
      : tokens_(tokens), window_(pages.window), kv_heads_(pages.kv_heads), each_(each),
        stretches_(static_cast<int>((tokens.count + each - 1) / each)) {}

  // Whole warps call.
  __device__ bool next(Run& run, int& kv_head) {
    while (!next_run(tokens_, window_, at_, end_, run)) {
      const int64_t place = round_ % 2 == 0 ? blockIdx.x : gridDim.x - 1 - blockIdx.x, item = round_ * gridDim.x + place;
      round_++;
      if (item >= int64_t{stretches_} * kv_heads_) return false;
      kv_head_ = static_cast<int>(item % kv_heads_);
      at_ = (stretches_ - 1 - item / kv_heads_) * each_;
      end_ = min(tokens_.count, at_ + each_);
    }
    kv_head = kv_head_;
    return true;
  }

 private:
  const StepTokens& tokens_;
  int64_t round_ = 0, at_ = 0, end_ = 0;
  int window_, kv_heads_, each_, stretches_, kv_head_ = 0;
};

}  // namespace prefill
}  // namespace kvant::cuda
