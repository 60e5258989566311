#pragma once
// Keys and values of attention_prefill.cuh: stored codes become operands of S and O.
#include "cuda/attention_prefill.cuh"

namespace kvant::cuda {
namespace prefill {

#ifdef KVANT_WARPGROUP

// Where a lane's pieces of 16 bytes lie: among the kOwnRows positions of its warp, and in an operand that holds them `turned` into fp16
// or as they are. Lanes whose stores share a phase find different banks, also where a piece becomes two vectors: they have eight chunks of
// a row, or four of two rows that differ in bits 0 and 2. In a regular shape a piece's row is the sum of the lane's and the piece's, of
// different bits. (Heads of 96 have conflicts of two.)
template <class S>
struct Pieces {
  static constexpr int kOwnRows = kTile / (kProducers / 32), kChunks = S::kRow / 16, kCount = kOwnRows * kChunks / 32;
  static constexpr int kTogether = S::kSize == 2 ? 8 : 4, kParts = kChunks / kTogether;  // chunks of a phase; of a row
  static constexpr bool kRegular = kChunks % kTogether == 0 && (S::kSize == 2 || kParts <= 2);

  static __device__ int lane() { return static_cast<int>(threadIdx.x) % 32; }
  static __device__ int own_row() { return static_cast<int>(threadIdx.x) / 32 * kOwnRows; }

  static constexpr int piece_row(int piece) {
    if (S::kSize == 2) return piece * 4 / kParts;
    return kParts == 1 ? piece * 8 : piece / 2 * 8 + piece % 2 * 2;
  }
  static __device__ int row(int piece) {
    if constexpr (kChunks % kTogether != 0) return (piece * 32 + lane()) / kChunks;
    if constexpr (S::kSize == 2) return (piece * 4 + lane() / 8) / kParts;
    const int pair = (piece * 4 + lane() / 8) / kParts;
    return pair / 4 * 8 + (pair % 4 ^ lane() / 4 % 2 * 5);
  }
  static __device__ int chunk(int piece) {
    if constexpr (kChunks % kTogether != 0) return (piece * 32 + lane()) % kChunks;
    return (piece * 4 + lane() / 8) % kParts * kTogether + lane() % kTogether;
  }

  // Byte of a piece, from first_offset() after the warp's first position on.
  static __device__ int first_offset() { return kRegular ? row(0) * S::kRow + chunk(0) * 16 : 0; }
  static __device__ int offset(int piece) { return kRegular ? piece_row(piece) * S::kRow : row(piece) * S::kRow + chunk(piece) * 16; }
  // Where the piece's vector goes in an operand's memory at `operand`, a multiple of 1024, given operand + the lane's first place.
  template <bool turned>
  static __device__ uint32_t place(uint32_t first, uint32_t operand, int piece, int vector) {
    if constexpr (kRegular) return (first ^ ((piece_row(piece) % 8 ^ vector) * 16)) + piece_row(piece) * 128;
    else return operand + swizzled(own_row() + row(piece), chunk(piece) * (turned ? 32 : 16) + vector * 16);
  }
};

__device__ __forceinline__ void store_shared(uint32_t to, const uint4& x) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(x.x), "r"(x.y), "r"(x.z), "r"(x.w) : "memory");
}

// One of the producing threads. Its warp reads the same 16 positions of each tile; a page holds them all. Codes that do not come by
// copies wait in registers, kAhead tiles of them.
template <class S>
class Producer {
 public:
  __device__ Producer(const Deal& deal, const AttentionArgs& args, const KvPages& pages)
      : deal_(deal), pages_(pages), layer_(pages.base + args.layer * pages.layer_bytes), page_shift_(__ffs(pages.page_tokens) - 1),
        own_row_(kept(P::own_row())), first_offset_(kept(P::first_offset())),
        stored_place_(kept(swizzled(own_row_ + P::row(0), P::chunk(0) * 16))), turned_place_(kept(swizzled(own_row_ + P::row(0), P::chunk(0) * 32))),
        scale_row_(kept(P::lane() % P::kOwnRows)), is_value_(P::lane() >= P::kOwnRows) {
    scale_place_ = kept((is_value_ ? TileScales::kValues : 0) + TileScales::place(own_row_ + scale_row_));
    turn_to_next_run();
  }

  // Whether there is a tile to read.
  __device__ bool reads() const { return reads_; }

  // Begins to read the next tile. stage: where copies go.
  template <int set>
  __device__ void read(uint32_t stage) {
    const int position = tile_ * kTile + own_row_, in_page = position & (pages_.page_tokens - 1);
    const uint64_t page = static_cast<uint64_t>(static_cast<uint32_t>(number_)) * static_cast<uint32_t>(pages_.page_bytes);
    const uint8_t* const keys = codes_ + page + in_page * S::kRow;
    const uint8_t* const values = keys + (pages_.v_codes - pages_.k_codes);
    if (position >= run_.lowest && position + P::kOwnRows - 1 <= run_.highest) {
      read_pieces<set>(stage, keys, values, [](int) { return true; });
    } else {
      read_pieces<set>(stage, keys, values, [&](int piece) { return sees(position + P::row(piece)); });
    }
    if constexpr (S::kScaled) {
      scales_of_[set] = pages_.k_static == nullptr ? 0 : is_value_ ? kValueShift : 1;
      if (pages_.k_static == nullptr && sees(position + scale_row_)) {
        scales_of_[set] = __ldcg(reinterpret_cast<const float*>(scales_ + page) + in_page + scale_row_);
      }
    }
    if (++tile_ < run_.end_tile) find_page();
    else turn_to_next_run();
  }

  // Turns what has been read into operands.
  template <int set>
  __device__ void write(uint32_t stage, TileScales& scales) const {
    if constexpr (!S::kCopies) put<!S::kKeysAsStored>(stage, keys_[set]);
    if constexpr (!S::kCopiesValues) put<S::kScaled>(stage + S::kKeyBytes, values_[set]);
    if constexpr (S::kScaled) {
      const float scale = scales_of_[set] * (is_value_ ? 1 / kValueShift : 1);
      scales.scales[scale_place_] = scale;
      const float most = warp_reduce(is_value_ ? scale : 0, Most());
      if (threadIdx.x % 32 == 0) scales.most[threadIdx.x / 32] = most;
    }
  }

 private:
  using P = Pieces<S>;

  __device__ bool sees(int position) const { return position >= run_.lowest && position <= run_.highest; }

  __device__ void turn_to_next_run() {
    int kv_head;
    reads_ = deal_.next(run_, kv_head);
    if (!reads_) return;
    tile_ = run_.first_tile;
    table_ = pages_.tables + run_.slot * pages_.table_stride;
    codes_ = layer_ + int64_t{kv_head} * pages_.page_tokens * S::kRow + pages_.k_codes + first_offset_;
    scales_ = layer_ + int64_t{kv_head} * pages_.page_tokens * 4 + (is_value_ ? pages_.v_scales : pages_.k_scales);
    find_page();
  }

  // Of the warp's positions of the next tile.
  __device__ void find_page() {
    const int position = tile_ * kTile + own_row_;
    const bool seen = position + P::kOwnRows > run_.lowest && position <= run_.highest;
    number_ = seen ? table_[position >> page_shift_] : 0;
  }

  // keys, values: the lane's first.
  template <int set, class Sees>
  __device__ void read_pieces(uint32_t stage, const uint8_t* keys, const uint8_t* values, Sees sees_piece) {
#pragma unroll
    for (int i = 0; i < P::kCount; i++) {
      const int at = P::offset(i);
      const bool seen = sees_piece(i);
      const uint32_t to = P::template place<false>(stage + stored_place_, stage, i, 0);
      if constexpr (S::kCopies) copy_async(to, keys + at, seen);
      else keys_[set][i] = seen ? __ldcg(reinterpret_cast<const uint4*>(keys + at)) : uint4{};
      if constexpr (S::kCopiesValues) copy_async(to + S::kKeyBytes, values + at, seen);
      else values_[set][i] = seen ? __ldcg(reinterpret_cast<const uint4*>(values + at)) : uint4{};
    }
  }

  template <bool turned>
  __device__ void put(uint32_t operand, const uint4 (&pieces)[P::kCount]) const {
    const uint32_t first = operand + (turned ? turned_place_ : stored_place_);
#pragma unroll
    for (int i = 0; i < P::kCount; i++) {
      if constexpr (turned) {
        uint4 low, high;
        fp16_quad<S::format>(pieces[i].x, low.x, low.y);
        fp16_quad<S::format>(pieces[i].y, low.z, low.w);
        fp16_quad<S::format>(pieces[i].z, high.x, high.y);
        fp16_quad<S::format>(pieces[i].w, high.z, high.w);
        store_shared(P::template place<true>(first, operand, i, 0), low);
        store_shared(P::template place<true>(first, operand, i, 1), high);
      } else {
        store_shared(P::template place<false>(first, operand, i, 0), pieces[i]);
      }
    }
  }

  Deal deal_;
  const KvPages& pages_;
  const uint8_t* const layer_;
  const int page_shift_;
  const int own_row_, first_offset_;             // of the warp; of the lane
  const uint32_t stored_place_, turned_place_;   // of the lane's first piece in an operand
  const int scale_row_;
  const bool is_value_;
  int scale_place_;
  Run run_;
  bool reads_;
  int tile_, number_;  // next to be read, and its page
  const int32_t* table_;
  const uint8_t *codes_, *scales_;
  uint4 keys_[S::kCopies ? 1 : S::kAhead][S::kCopies ? 1 : P::kCount], values_[S::kCopiesValues ? 1 : S::kAhead][S::kCopiesValues ? 1 : P::kCount];
  float scales_of_[S::kAhead];
};

#endif

}  // namespace prefill
}  // namespace kvant::cuda
