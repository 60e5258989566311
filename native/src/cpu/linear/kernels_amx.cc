// AMX: int8 products of 16 tokens or more by tile registers of 16 rows of 64 bytes; everything else is the AVX-512 VNNI
// tier's, tokens left over included. Sums over a group are exact int32 and groups are added in the same order, so both give the
// same bits.
//
// A packed block's codes (packed_layout.h) are already in the order of the second operand: [columns / 4][16 features][4]. They
// are unpacked to signed bytes once per batch of tokens, a slab at a time that stays in the first-level cache with the
// activations that meet it; unpacking also pads a group with zeros to whole tiles of 64 columns. One instruction multiplies
// 16 tokens x 64 columns x 16 features, 16,384 pairs, in 16 cycles; a tile of either operand is 1 KiB and 8 cycles of loads.
// Source: Intel 64 and IA-32 Architectures SDM, volume 1, chapter 18 (AMX); Intel optimization manual, chapter 20.
#include "cpu/simd/avx512_intrinsics.h"

#include <cstring>

#include "cpu/amx_tiles.h"
#include "kernel_table.h"
#include "token_tiles.h"

namespace kvant::linear {
namespace {

constexpr int64_t kTokens = kTileRegisterRows;
constexpr int64_t kColumns = kTileRegisterColumns;
constexpr int64_t kTileBytes = kTokens * kColumns;
constexpr int64_t kFeatures = kLinearBlock;
constexpr int kBlocks = 2;  // of features at a time
// Blocks that tokens left over meet while the cache holds them.
constexpr int64_t kChunkBlocks = 8;
// Weights of a slab: a third of a first-level cache of 48 KiB for two blocks, the rest for activations and sums.
constexpr int kSlabTiles = 8;
// Tokens whose sums are kept, and bytes of their activations that stay in a second-level cache of 2 MiB.
constexpr int kBatchTiles = 32;
constexpr int64_t kBatchBytes = 1 << 20;
// How far ahead of their use codes are asked for: few tokens leave the memory waiting while a slab is multiplied.
constexpr int64_t kPrefetchBytes = 4096;
// A y of more does not stay in a second-level cache. Asking for its lines makes 256 tokens and more up to a quarter faster;
// for a smaller y it costs 3 %.
constexpr int64_t kCachedBytes = 2 << 20;

using Sums = int32_t[kTokens][kFeatures];
using Totals = float[kTokens][kFeatures];

// Columns [begin, end) of a row, all of one group; their weights take `tiles` tiles of a slab from `first`.
struct Piece {
  int64_t group, begin, end;
  int first, tiles;
  bool opens, closes;  // its group
};

struct Slab {
  Piece pieces[kSlabTiles];
  int count;
  // Of the activations that meet each tile of weights: bytes from the start of the tile of tokens, and between its rows.
  int64_t x_offset[kSlabTiles], x_stride[kSlabTiles];
};

// Walks along a row, slab by slab. Only a group of more than a slab is cut.
class Slabs {
 public:
  explicit KVANT_ALWAYS_INLINE Slabs(const PackedLayout& layout) : layout_(layout) {}

  KVANT_ALWAYS_INLINE bool next(Slab& slab) {
    slab.count = 0;
    for (int tiles = 0; group_ < layout_.group_count && tiles < kSlabTiles;) {
      const int64_t first = group_ * layout_.group_stride, last = first + layout_.padded_group(group_);
      const int64_t begin = first + done_;
      const int64_t left = (last - 1) / kColumns - begin / kColumns + 1;
      if (left > kSlabTiles - tiles && tiles > 0) break;
      const int taken = left < kSlabTiles ? static_cast<int>(left) : kSlabTiles;
      const int64_t reach = (begin / kColumns + taken) * kColumns;
      const int64_t end = reach < last ? reach : last;
      slab.pieces[slab.count++] = {group_, begin, end, tiles, taken, done_ == 0, end == last};
      for (int i = 0; i < taken; i++) {
        const int64_t column = (begin / kColumns + i) * kColumns;
        slab.x_offset[tiles + i] = column * kTokens;
        slab.x_stride[tiles + i] = tile_register_stride(column, layout_.padded_cols);
      }
      tiles += taken;
      done_ = end == last ? 0 : end - first;
      if (end == last) group_++;
    }
    return slab.count > 0;
  }

 private:
  const PackedLayout& layout_;
  int64_t group_ = 0, done_ = 0;
};

// Eight columns of 16 features as signed bytes, two rows of a tile.
template <Format F>
KVANT_ALWAYS_INLINE void unpack_unit(const uint8_t* codes, int8_t* tile) {
  const __m512i line = _mm512_loadu_si512(codes);
  if constexpr (F == Format::int8) {
    const __m512i offset = _mm512_set1_epi8(static_cast<char>(0x80));
    _mm512_store_si512(tile, _mm512_xor_si512(line, offset));
    _mm512_store_si512(tile + 64, _mm512_xor_si512(_mm512_loadu_si512(codes + 64), offset));
  } else {
    const __m512i mask = _mm512_set1_epi8(15), offset = _mm512_set1_epi8(8);
    _mm512_store_si512(tile, _mm512_sub_epi8(_mm512_and_si512(line, mask), offset));
    _mm512_store_si512(tile + 64, _mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi32(line, 4), mask), offset));
  }
}

struct Scratch {
  alignas(64) int8_t weights[kBlocks][kSlabTiles][kTileBytes];
  alignas(64) Sums closed[2 * kBlocks];
  // Of the tokens of a batch: sums of a group that goes on in the next slab, or totals over groups, or both.
  alignas(64) uint8_t kept[kBatchTiles * kBlocks][kTileBytes];
};
// It lies on the stack of a thread, which with musl has 128 KiB.
static_assert(sizeof(Scratch) <= 96 * 1024 && sizeof(Sums) == kTileBytes && sizeof(Totals) == kTileBytes);

// Whether both are kept, for half as many tokens then. A group that begins within a tile reaches into one more.
bool keeps_both(const PackedLayout& layout) {
  return layout.group_count > 1 && layout.group_stride > (kSlabTiles - 1) * kColumns;
}

// A batch of whole tiles of tokens times two blocks of features.
template <Format F, Scales S>
struct Product {
  static constexpr int64_t kUnitBytes = kColumnUnit * kFeatures * bits(F) / 8;

  const PackedLayout& layout;
  const LinearCall& call;
  int64_t first_token;
  int tiles;
  int64_t first_block;
  int blocks;
  Scratch& scratch;
  Sums* const open = reinterpret_cast<Sums*>(scratch.kept);
  Totals* const totals = reinterpret_cast<Totals*>(scratch.kept + (keeps_both(layout) ? kBatchTiles / 2 * kBlocks : 0));

  void run() {
    Slab slab;
    for (Slabs slabs(layout); slabs.next(slab);) {
      for (int block = 0; block < blocks; block++) {
        for (int i = 0; i < slab.count; i++) unpack(slab.pieces[i], block);
      }
      asm volatile("" ::: "memory");  // GCC's _tile_loadd does not say that it reads memory
      const bool asks_for_y = is_last(slab.pieces[slab.count - 1]) && is_y_far();
      int tile = 0;
      for (; tile + 2 <= tiles; tile += 2) {
        for (int row = 0; asks_for_y && row < 2; row++) prefetch_y(tile + row);
        for (int i = 0; i < slab.count; i++) multiply<2>(slab, slab.pieces[i], tile);
      }
      if (tile < tiles) {
        if (asks_for_y) prefetch_y(tile);
        for (int i = 0; i < slab.count; i++) multiply<1>(slab, slab.pieces[i], tile);
      }
    }
  }

  const uint8_t* group_codes(int block, int64_t group) const {
    return call.weights + (first_block + block) * static_cast<int64_t>(layout.block_bytes) +
           group * static_cast<int64_t>(layout.group_bytes);
  }

  const int8_t* tile_of_x(int tile) const {
    return static_cast<const int8_t*>(call.x) + (first_token + tile * kTokens) * layout.padded_cols;
  }

  void unpack(const Piece& piece, int block) {
    const int64_t group_begin = piece.group * layout.group_stride;
    const uint8_t* codes = group_codes(block, piece.group) + (piece.begin - group_begin) / kColumnUnit * kUnitBytes;
    int8_t* const to = scratch.weights[block][piece.first];
    const int64_t base = piece.begin / kColumns * kColumns;
    // A column takes 16 bytes.
    std::memset(to, 0, static_cast<size_t>((piece.begin - base) * kFeatures));
    for (int64_t column = piece.begin; column < piece.end; column += kColumnUnit, codes += kUnitBytes) {
      for (int64_t line = 0; line < kUnitBytes; line += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(codes + kPrefetchBytes + line), _MM_HINT_T0);
      }
      unpack_unit<F>(codes, to + (column - base) * kFeatures);
    }
    const int64_t padding = piece.tiles * kColumns - (piece.end - base);
    std::memset(to + (piece.end - base) * kFeatures, 0, static_cast<size_t>(padding * kFeatures));
  }

  // Tiles of tokens `tile` and, where Rows is 2, `tile` + 1, times both blocks.
  template <int Rows>
  void multiply(const Slab& slab, const Piece& piece, int tile) {
    Sums* const begun = open + tile * kBlocks;
    if (piece.opens) {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    } else {
      _tile_loadd(0, begun[0], 64);
      _tile_loadd(1, begun[1], 64);
      if constexpr (Rows == 2) {
        _tile_loadd(2, begun[2], 64);
        _tile_loadd(3, begun[3], 64);
      }
    }
    const int8_t* const x = tile_of_x(tile);
    for (int i = piece.first; i < piece.first + piece.tiles; i++) {
      const int8_t* const at = x + slab.x_offset[i];
      _tile_loadd(6, scratch.weights[0][i], 64);
      _tile_loadd(7, scratch.weights[1][i], 64);
      _tile_loadd(4, at, slab.x_stride[i]);
      _tile_dpbssd(0, 4, 6);
      _tile_dpbssd(1, 4, 7);
      if constexpr (Rows == 2) {
        _tile_loadd(5, at + kTokens * layout.padded_cols, slab.x_stride[i]);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
      }
    }
    Sums* const to = piece.closes ? scratch.closed : begun;
    _tile_stored(0, to[0], 64);
    _tile_stored(1, to[1], 64);
    if constexpr (Rows == 2) {
      _tile_stored(2, to[2], 64);
      _tile_stored(3, to[3], 64);
    }
    if (!piece.closes) return;
    for (int row = 0; row < Rows; row++) {
      for (int block = 0; block < blocks; block++) add_group(piece, tile + row, block, scratch.closed[row * kBlocks + block]);
    }
  }

  bool is_last(const Piece& piece) const { return piece.closes && piece.group + 1 == layout.group_count; }

  // Into the totals, and behind the last group into y.
  void add_group(const Piece& piece, int tile, int block, const Sums& sums) const {
    const int64_t columns = layout.padded_group(piece.group);
    const uint8_t* const scales = group_codes(block, piece.group) + columns / kColumnUnit * kUnitBytes;
    const __m512 scale = _mm512_loadu_ps(scales);
    __m512i zeros;
    if constexpr (S == Scales::affine) {
      zeros = _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scales + kFeatures * sizeof(float))));
    }
    const int64_t first = first_token + tile * kTokens;
    const int32_t* const x_sums = call.x_sums + first * layout.group_count + piece.group * kTokens;
    Totals& kept = totals[tile * kBlocks + block];
    const auto total = [&](int64_t t) {
      __m512i sum = _mm512_load_si512(sums[t]);
      if constexpr (S == Scales::affine) {
        sum = _mm512_sub_epi32(sum, _mm512_mullo_epi32(zeros, _mm512_set1_epi32(x_sums[t])));
      }
      return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, piece.group == 0 ? _mm512_setzero_ps() : _mm512_load_ps(kept[t]));
    };
    if (!is_last(piece)) {
      for (int64_t t = 0; t < kTokens; t++) _mm512_store_ps(kept[t], total(t));
      return;
    }
    const int64_t feature = (first_block + block) * kFeatures, count = layout.rows - feature, stride = call.ldy;
    const auto mask = static_cast<__mmask16>(count >= kFeatures ? 0xffff : (1 << count) - 1);
    const __m512 bias = call.bias ? _mm512_maskz_loadu_ps(mask, call.bias + feature) : _mm512_setzero_ps();
    const float* const x_scales = call.x_scales + first;
    float* const y = call.y + first * stride + feature;
    for (int64_t t = 0; t < kTokens; t++) {
      _mm512_mask_storeu_ps(y + t * stride, mask, _mm512_fmadd_ps(total(t), _mm512_set1_ps(x_scales[t]), bias));
    }
  }

  bool is_y_far() const { return call.tokens * call.ldy * static_cast<int64_t>(sizeof(float)) > kCachedBytes; }

  // Rows of y lie far apart and are written a line or two each. Inlined by force: GCC takes a function that only prefetches for
  // one without effect and drops calls to it.
  KVANT_ALWAYS_INLINE void prefetch_y(int tile) const {
    const float* const y = call.y + (first_token + tile * kTokens) * call.ldy + first_block * kFeatures;
    for (int64_t t = 0; t < kTokens; t++) {
      for (int block = 0; block < blocks; block++) __builtin_prefetch(y + t * call.ldy + block * kFeatures);
    }
  }
};

template <Format F, Scales S>
void run(const PackedLayout& layout, const LinearCall& call) {
  const RunLinear run_rest = kernels_avx512vnni.products[static_cast<int>(S)].int8_activations[static_cast<int>(F)];
  const int64_t whole = call.tokens / kTokens;
  if (whole == 0) return run_rest(layout, call);
  LinearCall rest = call;
  rest.tokens -= whole * kTokens;
  rest.x = static_cast<const int8_t*>(call.x) + whole * kTokens * layout.padded_cols;
  rest.x_scales += whole * kTokens;
  rest.x_sums += whole * kTokens * layout.group_count;
  rest.y += whole * kTokens * call.ldy;
  const int64_t fitting = kBatchBytes / (layout.padded_cols * kTokens) / 2 * 2;
  const int64_t most = keeps_both(layout) ? kBatchTiles / 2 : kBatchTiles;
  const int64_t batch = fitting > most ? most : fitting > 2 ? fitting : 2;
  Scratch scratch;
  for (int64_t tile = 0; tile < whole; tile += batch) {
    const int tiles = static_cast<int>(whole - tile < batch ? whole - tile : batch);
    for (int64_t begin = call.block_begin; begin < call.block_end; begin += kChunkBlocks) {
      const int64_t end = call.block_end - begin < kChunkBlocks ? call.block_end : begin + kChunkBlocks;
      _tile_loadconfig(&kTileConfig);
      for (int64_t block = begin; block < end; block += kBlocks) {
        const int blocks = end - block < kBlocks ? 1 : kBlocks;
        Product<F, S>{layout, call, tile * kTokens, tiles, block, blocks, scratch}.run();
      }
      _tile_release();
      if (rest.tokens == 0 || tile + tiles < whole) continue;
      rest.block_begin = begin;
      rest.block_end = end;
      run_rest(layout, rest);
    }
  }
}

}  // namespace

LinearKernels amx_kernels() {
  LinearKernels kernels = kernels_avx512vnni;
  const auto set = [&](Scales scales, Format format, RunLinear run) {
    kernels.products[static_cast<int>(scales)].int8_activations[static_cast<int>(format)] = run;
  };
  set(Scales::fp32, Format::int8, run<Format::int8, Scales::fp32>);
  set(Scales::fp32, Format::int4, run<Format::int4, Scales::fp32>);
  set(Scales::affine, Format::int8, run<Format::int8, Scales::affine>);
  set(Scales::affine, Format::int4, run<Format::int4, Scales::affine>);
  kernels.widest_int8_tile = kTokens;
  kernels.widest_int8_blocks = kBlocks;
  return kernels;
}

}  // namespace kvant::linear
