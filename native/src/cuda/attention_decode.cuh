#pragma once
// out[t, h] = sum_j softmax_j(scale * q[t, h] . k[j]) v[j] over the positions that token t sees: for tokens that do not share
// their row's positions with many others of the step. Tensor cores do the sums, yet results are as good as float32's:
//   S = K q     A: 16 positions x head_dim codes, as stored. B: a column pair per head, with the high and the low part of q
//   O = V p     A: head_dim x 16 positions. B: column pairs with the high and the low part of the softmax weights
// Codes are exact in fp16 (bf16 pages: bf16, and three parts). Over INT8 pages q is INT8 per token and head, and S is exact.
// fp16 neither overflows nor loses weights: q is scaled by a power of two per head, a weight enters as
// p * v_scale / unit * 2^7 with p < 2^8, where `unit` is at least the largest v_scale so far and `top` lags the largest logit.
//
// Work: an item is a token and up to kHeads query heads of a KV head; its positions fall into tiles of 16. Blocks share out the
// tiles of the step on the device (attention_shares.cuh), so a graph serves any context lengths. A block's warps take every
// kWarps-th tile of an item and run on their own: a ring of stages that cp.async fills and the same warp reads. A block joins
// its warps; the last of the blocks that share an item joins these.
// Memory bound: 2 * head_dim codes and two scales per position and KV head; once per part of kHeads query heads.
#include <cmath>
#include <type_traits>

#include <cuda_bf16.h>

#include "cuda/attention_kernels.h"
#include "cuda/attention_mma.cuh"
#include "cuda/attention_heads.cuh"
#include "cuda/check.h"
#include "cuda/codes.cuh"
#include "cuda/launch.cuh"
#include "cuda/reduce.cuh"

namespace kvant::cuda {
namespace decode {

// A warp's part of an item: per lane the values output_dim(v, g) of head t of each column tile.
template <class S, int column_tiles>
struct Part {
  float o[column_tiles][S::kValues / 2][4];  // over columns 2t and 2t + 1: their sum is the value
  float top[column_tiles], total[column_tiles];  // total: of the lane's positions
  float unit;
};

// Adds the tile of 16 positions from `position` on that lies at `stage`.
template <class S, Format format, int column_tiles>
__device__ __forceinline__ void add_tile(const uint8_t* stage, const uint32_t (&q)[column_tiles][S::kSteps * S::kParts][2],
                                         const float (&factor)[column_tiles], float2 static_scales, bool dynamic, int position,
                                         const Item& item, Part<S, column_tiles>& part) {
  constexpr bool kBf16 = kIsBf16<format>;
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  using Sum = std::conditional_t<S::kInt8, int, float>;
  Sum s[column_tiles][2][4] = {};
#pragma unroll
  for (int unit = 0; unit < S::kUnits; unit++) {
    uint32_t low[S::kUnitWords], high[S::kUnitWords];  // rows g and g + 8
    load_words<S::kUnitWords>(low, stage + S::at(g, (unit * 4 + t) * S::kUnitWords * 4));
    load_words<S::kUnitWords>(high, stage + S::at(g + 8, (unit * 4 + t) * S::kUnitWords * 4));
#pragma unroll
    for (int i = 0; i < S::kUnitWords / S::kStepWords; i++) {
      const int step = unit * (S::kUnitWords / S::kStepWords) + i;
      uint32_t a[4];
      if constexpr (S::kStepWords == 2) {
        a[0] = low[2 * i], a[1] = high[2 * i], a[2] = low[2 * i + 1], a[3] = high[2 * i + 1];
      } else {
        fp16_quad<format>(low[i], a[0], a[2]);
        fp16_quad<format>(high[i], a[1], a[3]);
      }
#pragma unroll
      for (int n = 0; n < column_tiles; n++) {
        if constexpr (S::kInt8) {
          step_int8(s[n][step % 2], a, q[n][step][0], q[n][step][1]);
        } else {
#pragma unroll
          for (int p = 0; p < S::kParts; p++) {
            step_float<kBf16>(s[n][(step + p) % 2], a, q[n][step * S::kParts + p][0], q[n][step * S::kParts + p][1]);
          }
        }
      }
    }
  }

  bool seen[2];
  float k_scale[2], v_scale[2], logit[column_tiles][2];
  bool grows = false;
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const int at = position + g + 8 * r;
    seen[r] = at >= item.lowest && at <= item.highest;
    k_scale[r] = static_scales.x, v_scale[r] = static_scales.y;
    if constexpr (S::kScaled) {
      if (dynamic) {
        const auto* const scales = reinterpret_cast<const float*>(stage + 2 * S::kCodes);
        k_scale[r] = scales[g + 8 * r];
        v_scale[r] = scales[kTile + g + 8 * r];
      }
      if (!seen[r]) v_scale[r] = 0;
      grows |= v_scale[r] > part.unit;
    }
#pragma unroll
    for (int n = 0; n < column_tiles; n++) {
      const auto sum = s[n][0][2 * r] + s[n][0][2 * r + 1] + (s[n][1][2 * r] + s[n][1][2 * r + 1]);
      logit[n][r] = seen[r] ? static_cast<float>(sum) * (factor[n] * k_scale[r]) : -INFINITY;
      grows |= logit[n][r] > part.top[n] + kTopLag;
    }
  }
  if (__any_sync(0xffffffffu, grows)) {
    float ratio = 1;
    if constexpr (S::kScaled) {
      float most = fmaxf(v_scale[0], v_scale[1]);
      for (int offset = 4; offset < 32; offset *= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, offset));
      if (most > part.unit) {
        ratio = part.unit / most;
        part.unit = most;
      }
    }
#pragma unroll
    for (int n = 0; n < column_tiles; n++) {
      float most = fmaxf(logit[n][0], logit[n][1]);
      for (int offset = 4; offset < 32; offset *= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, offset));
      most = fmaxf(most, part.top[n]);
      const float fade = exp2_fast(part.top[n] - most);
      part.top[n] = most;
      part.total[n] *= fade;
#pragma unroll
      for (auto& c : part.o[n]) {
        for (float& x : c) x *= fade * ratio;
      }
    }
  }

  uint32_t b[column_tiles][S::kParts][2];
#pragma unroll
  for (int r = 0; r < 2; r++) {
    float gain = 1;
    if constexpr (!kBf16) gain = S::kScaled ? v_scale[r] * (kWeightGain / part.unit) : kWeightGain;
#pragma unroll
    for (int n = 0; n < column_tiles; n++) {
      const float p = exp2_fast(logit[n][r] - part.top[n]);
      part.total[n] += p;
      const float weight = p * gain, high = rounded<kBf16>(weight), rest = weight - high;
      b[n][0][r] = transposed(pack<kBf16>(high, rest));
      if constexpr (kBf16) b[n][1][r] = transposed(pack<true>(rest - rounded<true>(rest), 0));
    }
  }

  const uint8_t* const values = stage + S::kCodes;
#pragma unroll
  for (int load = 0; load < S::kValueWords / S::kValueLoad; load++) {
    uint32_t v[4][S::kValueLoad];  // of positions 2t, 2t + 1, 2t + 8, 2t + 9
#pragma unroll
    for (int i = 0; i < 4; i++) {
      load_words<S::kValueLoad>(v[i], values + S::at(2 * t + i % 2 + i / 2 * 8, (load * 8 + g) * S::kValueLoad * 4));
    }
#pragma unroll
    for (int word = 0; word < S::kValueLoad; word++) {
      constexpr int kNumbers = 4 / S::kSize;
      uint32_t first[kNumbers], second[kNumbers];
      interleave<format>(v[0][word], v[1][word], first);
      interleave<format>(v[2][word], v[3][word], second);
#pragma unroll
      for (int i = 0; i < kNumbers; i += 2) {
        const uint32_t a[4] = {first[i], first[i + 1], second[i], second[i + 1]};
        const int m = ((load * S::kValueLoad + word) * kNumbers + i) / 2;
#pragma unroll
        for (int n = 0; n < column_tiles; n++) {
#pragma unroll
          for (int p = 0; p < S::kParts; p++) step_float<kBf16>(part.o[n][m], a, b[n][p][0], b[n][p][1]);
        }
      }
    }
  }
}

// Puts the token's own key and value into the tile at `stage`, which was read before they were stored.
template <class S>
__device__ __forceinline__ void freshen(uint8_t* stage, int position, const Fresh<S>& fresh, bool dynamic) {
  const int lane = threadIdx.x % 32, row = position % kTile;
#pragma unroll
  for (int part = 0; part < 2; part++) {
    for (int column = lane * 4; column < S::kRow; column += 32 * 4) {
      *reinterpret_cast<uint32_t*>(stage + part * S::kCodes + S::at(row, column)) = *reinterpret_cast<const uint32_t*>(fresh.codes[part] + column);
    }
    if (dynamic && lane == 0) reinterpret_cast<float*>(stage + 2 * S::kCodes)[part * kTile + row] = fresh.scales[part];
  }
  __syncwarp();
}

// Tiles of an item as one warp walks them: every warps-th of the block's share. Page numbers come 32 tiles at a time.
template <class S>
class Fetch {
 public:
  __device__ Fetch(const Item& item, const AttentionArgs& args, const KvPages& pages, uint8_t* ring)
      : item_(item), pages_(pages), ring_(shared_address(ring)), dynamic_(S::kScaled && pages.k_static == nullptr) {
    const int warp = threadIdx.x / 32;
    first_ = item.first_tile + warp;
    count_ = first_ < item.end_tile ? (item.end_tile - first_ + S::kWarps - 1) / S::kWarps : 0;
    shift_ = pages.page_tokens / 32;  // 16, 32, 64 tokens: 0, 1, 2
    layer_ = pages.base + args.layer * pages.layer_bytes + static_cast<int64_t>(item.kv_head) * pages.page_tokens * S::kRow;
    scales_ = pages.base + args.layer * pages.layer_bytes + static_cast<int64_t>(item.kv_head) * pages.page_tokens * 4;
    table_ = pages.tables + item.slot * pages.table_stride;
    numbers_ = page_numbers(0);
    next_numbers_ = page_numbers(32);
  }
  __device__ int count() const { return count_; }
  __device__ int position(int i) const { return tile(i) * kTile; }

  // Whether a tile holds the last position that the token sees.
  __device__ bool is_last(int i) const { return i < count_ && tile(i) == item_.highest / kTile; }
  __device__ bool next_is_last() const { return is_last(next_); }

  // Begins to read the next tile into the stage; nothing after the last.
  __device__ void start(int stage) {
    if (next_ < count_) {
      if (next_ % 32 == 0 && next_ > 0) {
        numbers_ = next_numbers_;
        next_numbers_ = page_numbers(next_ + 32);
      }
      const int lane = threadIdx.x % 32, begin = tile(next_), in_page = begin & ((1 << shift_) - 1);
      const int64_t page = __shfl_sync(0xffffffffu, numbers_, next_ % 32) * pages_.page_bytes;
      const uint8_t* const codes = layer_ + page + in_page * S::kCodes;
      const int lowest = item_.lowest - begin * kTile, highest = item_.highest - begin * kTile;
      const uint32_t to = ring_ + stage * S::kStage;
#pragma unroll
      for (int i = 0; i < S::kCodes / 512; i++) {
        const int chunk = i * 32 + lane, row = chunk / (S::kRow / 16), column = chunk % (S::kRow / 16) * 16;
        const bool seen = row >= lowest && row <= highest;
        copy_async(to + S::at(row, column), codes + pages_.k_codes + chunk * 16, seen);
        copy_async(to + S::kCodes + S::at(row, column), codes + pages_.v_codes + chunk * 16, seen);
      }
      if (dynamic_ && lane < 8) {
        const uint8_t* const from = scales_ + page + in_page * (kTile * 4) + (lane < 4 ? pages_.k_scales : pages_.v_scales);
        copy_async(to + 2 * S::kCodes + lane * 16, from + lane % 4 * 16, true);
      }
      next_++;
    }
    commit_copies();
  }

 private:
  __device__ int tile(int i) const { return first_ + i * S::kWarps; }
  __device__ int page_numbers(int from) const {
    const int i = from + static_cast<int>(threadIdx.x % 32);
    return i < count_ ? table_[tile(i) >> shift_] : 0;
  }

  const Item& item_;
  const KvPages& pages_;
  const uint8_t *layer_, *scales_;
  const int32_t* table_;
  uint32_t ring_;
  int first_, count_, shift_, next_ = 0;
  int numbers_, next_numbers_;
  bool dynamic_;
};

// What the warps of a block leave for each other, in place of their rings.
template <class S>
struct Merge {
  float outputs[S::kWarps][S::kHeads][S::kMergeRow];
  float tops[S::kWarps][S::kHeads], totals[S::kWarps][S::kHeads];
};

template <class S, int column_tiles>
__device__ void leave_part(const Part<S, column_tiles>& part, float gain, Merge<S>& merge) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, warp = threadIdx.x / 32;
#pragma unroll
  for (int n = 0; n < column_tiles; n++) {
    float total = part.total[n];
    for (int offset = 4; offset < 32; offset *= 2) total += __shfl_xor_sync(0xffffffffu, total, offset);
    const int head = n * 4 + t;
    if (g == 0) {
      merge.tops[warp][head] = part.top[n];
      merge.totals[warp][head] = total;
    }
#pragma unroll
    for (int v = 0; v < S::kValues; v += 4) {
      float4 x;
      x.x = (part.o[n][v / 2][0] + part.o[n][v / 2][1]) * gain;
      x.y = (part.o[n][v / 2][2] + part.o[n][v / 2][3]) * gain;
      x.z = (part.o[n][v / 2 + 1][0] + part.o[n][v / 2 + 1][1]) * gain;
      x.w = (part.o[n][v / 2 + 1][2] + part.o[n][v / 2 + 1][3]) * gain;
      *reinterpret_cast<float4*>(&merge.outputs[warp][head][S::output_dim(v, g)]) = x;
    }
  }
}

__device__ inline void add_scaled(float4& to, const float4& x, float factor) {
  to.x = fmaf(x.x, factor, to.x), to.y = fmaf(x.y, factor, to.y);
  to.z = fmaf(x.z, factor, to.z), to.w = fmaf(x.w, factor, to.w);
}

}  // namespace decode
}  // namespace kvant::cuda
