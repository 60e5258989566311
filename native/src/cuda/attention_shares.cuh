#pragma once
// How the blocks of a decode launch share out its tiles. All of it is computed by each block from the positions of the step.
//   pieces: while there are few items, each is cut into equal pieces, a block for each; as many as keep a block busy long enough
//           to pay for joining them
//   shares: else the items lie in one line, and each block takes an equal stretch of it, which may begin and end inside items.
//           kItemCost empty tiles lead each item: what it costs to begin one
#include "cuda/attention_kernels.h"
#include "cuda/attention_rows.cuh"
#include "cuda/reduce.cuh"

namespace kvant::cuda {
namespace decode {

constexpr int kTile = 16;  // positions

// Part of an item that a block works on.
struct Stretch {
  int index, which;            // token of the launch; item of the token
  int begin, end, tiles;       // tiles of the item
  int first_block, last_block;  // that have parts of it
};

struct Token {
  int slot, position;
};
constexpr int kPadding = -1, kElsewhere = -2;  // slots of tokens without tiles: the latter's outputs are another kernel's

template <int warps>
class Shares {
 public:
  struct Memory {
    Token tokens[kDecodeTokens];
    int prefix[kDecodeTokens + 1];  // pieces, or tiles and costs, of one item of each of the tokens before
    int sums[warps], most[warps];
  };

  // items: per token. The whole block calls.
  __device__ Shares(const DecodeLaunch& launch, int window, int items, Memory& memory)
      : memory_(memory), count_(launch.token_count), window_(window), items_(items) {
    int most = 0;
    for (int i = threadIdx.x; i < count_; i += kThreads) {
      const int64_t token = launch.first_token + i;
      Token entry = {launch.tokens.slots[token], launch.tokens.positions[token]};
      if (entry.slot >= 0 && launch.skip_long_rows && in_long_row(launch.tokens, token)) entry.slot = kElsewhere;
      memory.tokens[i] = entry;
      most = max(most, tiles(i));
    }
    most = warp_reduce(most, Most());
    if (threadIdx.x % 32 == 0) memory.most[threadIdx.x / 32] = most;
    __syncthreads();
    for (int warp = 0; warp < warps; warp++) most = max(most, memory.most[warp]);
    __syncthreads();  // a wide load of `most` may take in `sums`, which are written next
    fill_prefix([&](int i) { return weight(i); });
    const int blocks = gridDim.x, total = memory.prefix[count_] * items_, all_items = count_ * items_;
    share_ = (total + blocks - 1) / blocks;
    if (all_items < blocks) {
      piece_ = max((total + blocks - all_items - 1) / (blocks - all_items), kLeastPiece);
      is_pieces_ = piece_ == kLeastPiece || min(piece_, most) * 10 <= share_ * 11;
    }
    if (is_pieces_) {
      __syncthreads();
      fill_prefix([&](int i) { return pieces(i); });
      share_ = 1;
    }
    at_ = static_cast<int64_t>(blockIdx.x) * share_;
    end_ = min(static_cast<int64_t>(memory.prefix[count_]) * items_, at_ + share_);
  }

  // The block's next stretch; false after the last.
  __device__ bool next(Stretch& stretch) {
    while (at_ < end_) {
      const int at = static_cast<int>(at_);
      if (index_ < 0) index_ = find(at);
      while (memory_.prefix[index_ + 1] * items_ <= at) index_++;
      const int each = memory_.prefix[index_ + 1] - memory_.prefix[index_], before = memory_.prefix[index_] * items_;
      stretch.index = index_;
      stretch.which = (at - before) / each;
      stretch.tiles = tiles(index_);
      const int item = before + stretch.which * each;
      if (is_pieces_) {
        stretch.begin = (at - item) * stretch.tiles / each;
        stretch.end = (at - item + 1) * stretch.tiles / each;
        stretch.first_block = item;
        stretch.last_block = item + each - 1;
        at_ = end_;
        return true;
      }
      at_ = min(end_, static_cast<int64_t>(item + each));
      stretch.begin = max(at - item - kItemCost, 0);
      stretch.end = static_cast<int>(at_) - item - kItemCost;
      stretch.first_block = (item + kItemCost) / share_;
      stretch.last_block = (item + each - 1) / share_;
      if (stretch.end > 0) return true;
    }
    return false;
  }

  __device__ const Token& token(int index) const { return memory_.tokens[index]; }

 private:
  static constexpr int kThreads = warps * 32;
  static constexpr int kLeastPiece = 2 * warps, kItemCost = warps;

  __device__ int tiles(int i) const {
    const Token& token = memory_.tokens[i];
    return token.slot < 0 ? 0 : token.position / kTile - lowest_position(token.position, window_) / kTile + 1;
  }
  __device__ int weight(int i) const {
    const int count = tiles(i);
    return count == 0 ? 0 : count + kItemCost;
  }
  __device__ int pieces(int i) const { return (tiles(i) + piece_ - 1) / piece_; }

  template <class Weight>
  __device__ void fill_prefix(const Weight& weight_of) {
    const int each = (count_ + kThreads - 1) / kThreads, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int begin = min(count_, static_cast<int>(threadIdx.x) * each), end = min(count_, begin + each);
    int own = 0;
    for (int i = begin; i < end; i++) own += weight_of(i);
    int running = own;
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
      const int below = __shfl_up_sync(0xffffffffu, running, offset);
      if (lane >= offset) running += below;
    }
    if (lane == 31) memory_.sums[warp] = running;
    __syncthreads();
    int before = running - own;
    for (int i = 0; i < warp; i++) before += memory_.sums[i];
    for (int i = begin; i < end; i++) {
      memory_.prefix[i] = before;
      before += weight_of(i);
    }
    if (threadIdx.x == kThreads - 1) memory_.prefix[count_] = before;
    __syncthreads();
  }

  // The token in whose items place `at` of the line is.
  __device__ int find(int at) const {
    int low = 0, high = count_;  // prefix[low] * items_ <= at < prefix[high] * items_
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (memory_.prefix[middle] * items_ <= at) low = middle;
      else high = middle;
    }
    return low;
  }

  Memory& memory_;
  const int count_, window_, items_;
  int share_, piece_ = 0, index_ = -1;
  bool is_pieces_ = false;
  int64_t at_, end_;
};

}  // namespace decode
}  // namespace kvant::cuda
