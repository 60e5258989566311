#pragma once
// S, the softmax weights and O of attention_prefill.cuh.
#include <bit>

#include "cuda/attention_prefill.cuh"

namespace kvant::cuda {
namespace prefill {

#ifdef KVANT_WARPGROUP

// The threads of a warpgroup wait for each other.
__device__ __forceinline__ void wait_for_warpgroup() { asm volatile("bar.sync %0, 128;" ::"r"(1 + threadIdx.x / 128) : "memory"); }

// Four 8 x 8 matrices of 16-bit numbers, of which lane (g, t) holds row g, columns 2t and 2t + 1. Lane i says where row i % 8 of matrix
// i / 8 goes.
__device__ __forceinline__ void store_matrices(uint32_t row, const uint32_t (&x)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]) : "memory");
}

// One thread of a warpgroup of 64 query rows. Lane (g, t) of warp w has rows 16w + g and 16w + g + 8: index r below.
template <class S>
class Consumer {
 public:
  using Sum = std::conditional_t<S::kInt8, int, float>;

  __device__ Consumer(const Work<S>& work, const AttentionArgs& args, const AttentionOutput& output, const KvPages& pages)
      : run_(work.run), args_(args), output_(output), group_(args.heads / pages.kv_heads), first_head_(work.kv_head * group_) {
    const Run& run = run_;
    const int warp = threadIdx.x % 128 / 32, warpgroup = (threadIdx.x - S::kFirstConsumer) / 128;
    first_row_ = warpgroup * 64 + warp * 16;
    const bool is_static = S::kScaled && pages.k_static != nullptr;
    const int at_scale = args.layer * pages.kv_heads + work.kv_head;
    const float logit_scale = args.scale * kLog2E * (is_static ? pages.k_static[at_scale] : 1);
    output_gain_ = is_static ? pages.v_static[at_scale] : S::kScaled ? kValueShift : 1;
#pragma unroll
    for (int r = 0; r < 2; r++) {
      position_[r] = run.position + min(run.tokens - 1, row(r) / group_);
      lowest_[r] = lowest_position(position_[r], pages.window);
      factor_[r] = work.scales[row(r)] * logit_scale;
      top_[r] = kNoTop;
      total_[r] = 0;
      lift_[r] = 0;
    }
    warp_position_ = run.position + min(run.tokens - 1, first_row_ / group_);
    warp_lowest_ = lowest_position(run.position + min(run.tokens - 1, (first_row_ + 15) / group_), pages.window);
    unit_ = kLeastUnit;
    quarter_ = kept(static_cast<int>(threadIdx.x) % 4 * TileScales::kStride);
#pragma unroll
    for (float& x : o_) x = 0;
  }

  __device__ const Run& run() const { return run_; }

  __device__ void start_scores(uint64_t queries, uint64_t keys) {
#pragma unroll
    for (int step = 0; step < S::kSteps; step++) {
      const uint32_t at = step / 4 * kBlockBytes + step % 4 * 32;
      const uint64_t a = swizzled_operand_at(queries, at), b = swizzled_operand_at(keys, at);
      if constexpr (S::kInt8) warpgroup_step_int8(s_, a, b, step > 0);
      else if constexpr (S::kBf16) warpgroup_step_bf16(s_, a, b, step > 0);
      else warpgroup_step_fp16(s_, a, b, step > 0);
    }
  }

  __device__ void start_values(uint64_t values) {
#pragma unroll
    for (int step = 0; step < kTile / 16; step++) {
      const uint64_t b = swizzled_operand_at(values, step * 16 * 128);
      if constexpr (S::kBf16) warpgroup_step_bf16(o_, p_[step], b);
      else warpgroup_step_fp16(o_, p_[step], b);
    }
  }

  // Called before the scores of the tile begin, so that the loads end while those run.
  __device__ void take_key_scales(const TileScales& scales) {
    if constexpr (S::kScaled) {
      load_scales(scales.scales + quarter_, k_scales_);
      const float4 most = *reinterpret_cast<const float4*>(scales.most);
      most_scale_ = fmaxf(fmaxf(most.x, most.y), fmaxf(most.z, most.w));
    }
  }

  // Turns the scores of a tile into the next weights.
  __device__ void weigh(int tile, const TileScales& scales) {
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < 32; i++) {
      y_[i] = static_cast<float>(s_[i]);
      if constexpr (S::kScaled) y_[i] *= k_scales_[i / 4 * 2 + i % 2];
    }
    float v_scales[16];
    if constexpr (S::kScaled) load_scales(scales.scales + TileScales::kValues + quarter_, v_scales);
    if (tile * kTile + kTile - 1 > warp_position_ || tile * kTile < warp_lowest_) {
#pragma unroll
      for (int i = 0; i < 32; i++) {
        const int position = tile * kTile + i / 4 * 8 + 2 * t + i % 2, r = i / 2 % 2;
        if (position > position_[r] || position < lowest_[r]) y_[i] = -INFINITY;
      }
    }
    float most[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int i = 0; i < 32; i++) most[i / 2 % 2] = fmaxf(most[i / 2 % 2], y_[i]);
    const float tops[2] = {most[0] * factor_[0], most[1] * factor_[1]};
    bool grows = tops[0] > top_[0] + kTopLag || tops[1] > top_[1] + kTopLag;
    if constexpr (S::kScaled) grows |= most_scale_ > unit_;
    rescales_ = __any_sync(0xffffffffu, grows);
    if (rescales_) raise(tops);
#pragma unroll
    for (int i = 0; i < 32; i++) {
      const int r = i / 2 % 2;
      y_[i] = exp2_fast(fmaf(y_[i], factor_[r], lift_[r]));
      total_[r] += y_[i];
      if constexpr (S::kScaled) y_[i] *= v_scales[i / 4 * 2 + i % 2];
    }
  }

  // After the steps that read the weights before have ended.
  __device__ void take_weights() {
    if (rescales_) {
#pragma unroll
      for (int i = 0; i < S::head_dim / 2; i++) o_[i] *= fade_[i / 2 % 2];
    }
#pragma unroll
    for (int i = 0; i < 16; i++) p_[i / 4][i % 4] = pack<S::kBf16>(y_[2 * i], y_[2 * i + 1]);
  }

  // rows: kStagedBytes of shared memory, the warp's own.
  static constexpr int kStagedBytes = S::kKeyBytes / 4;
  __device__ void write(uint8_t* rows) const {
    float gains[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float total = total_[r] + __shfl_xor_sync(0xffffffffu, total_[r], 1);
      total += __shfl_xor_sync(0xffffffffu, total, 2);
      gains[r] = output_gain_ / total;
    }
    if (output_.format == Format::bf16) write_rows<Format::bf16>(gains, rows);
    else if (output_.format == Format::fp16) write_rows<Format::fp16>(gains, rows);
    else write_rows<Format::fp32>(gains, rows);
  }

 private:
  __device__ int row(int r) const { return first_row_ + static_cast<int>(threadIdx.x % 32) / 4 + 8 * r; }

  // The first output of a query row of the block; -1 where there is none.
  __device__ int64_t place_of(int row) const {
    const int token = row / group_, head = first_head_ + row % group_;
    return token < run_.tokens ? ((run_.first + token) * args_.heads + head) * S::head_dim : -1;
  }

  static __device__ void load_scales(const float* from, float (&to)[16]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float4 four = reinterpret_cast<const float4*>(from)[i];
      to[4 * i] = four.x, to[4 * i + 1] = four.y, to[4 * i + 2] = four.z, to[4 * i + 3] = four.w;
    }
  }

  // Raises the maximum to `tops` and the unit to the tile's largest V scale.
  __device__ void raise(const float (&tops)[2]) {
    float before = 1, inverse = 1, lift = S::kBf16 ? 0 : log2(kWeightGain);
    if constexpr (S::kScaled) {
      before = unit_;
      if (most_scale_ > unit_) unit_ = __uint_as_float((__float_as_uint(most_scale_) + 0x7fffff) & 0x7f800000);  // a power of two
      inverse = __uint_as_float(0x7f000000 - __float_as_uint(unit_));
      lift -= log2(unit_);
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float top = fmaxf(tops[r], __shfl_xor_sync(0xffffffffu, tops[r], 1));
      top = fmaxf(fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2)), top_[r]);
      const float fade = exp2_fast(top_[r] - top);
      fade_[r] = fade * (before * inverse);            // where this is nothing to fp32,
      total_[r] = total_[r] * fade * before * inverse;  // this is not
      top_[r] = top;
      lift_[r] = lift - top;
    }
  }
  // Of a power of two.
  static __device__ float log2(float x) { return static_cast<float>(static_cast<int>(__float_as_uint(x) >> 23) - 127); }

  // Outputs change lanes in shared memory, so that lanes which write together fill lines. Pieces of 16 bytes lie there so that those of
  // one store and of one load find different banks.
  template <Format format>
  __device__ void write_rows(const float (&gains)[2], uint8_t* rows) const {
    using Code = typename Codes<format>::Code;
    constexpr int kNumbers = 16 / sizeof(Code), kPieces = S::head_dim / kNumbers, kEach = 8 / kNumbers;  // of a piece, a row, 8 numbers
    constexpr int kStride = (kPieces + 7) / 8 * 8;                                                       // pieces
    constexpr int kAtOnce = std::min<int>(8, std::bit_floor(unsigned{kStagedBytes / (kStride * 16)}));   // rows
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const auto staged = [&](int row, int piece) { return rows + (row % kAtOnce * kStride + (piece ^ row % 8 * kEach % 8)) * 16; };
#pragma unroll
    for (int r = 0; r < 2; r++) {
#pragma unroll
      for (int first = 0; first < 8; first += kAtOnce) {
        __syncwarp();
        if constexpr (format == Format::fp32) {
          if (g / kAtOnce == first / kAtOnce) {
#pragma unroll
            for (int j = 0; j < S::head_dim / 8; j++) {
              *reinterpret_cast<float2*>(staged(g, 2 * j + t / 2) + t % 2 * 8) = {o_[4 * j + 2 * r] * gains[r], o_[4 * j + 2 * r + 1] * gains[r]};
            }
          }
        } else {
          static_assert(kAtOnce == 8);
#pragma unroll
          for (int j = 0; j < S::head_dim / 8; j += 4) {
            uint32_t pairs[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
              const auto code = [&](int e) { return static_cast<uint32_t>(Codes<format>::encode(o_[4 * (j + i) + 2 * r + e] * gains[r])); };
              pairs[i] = code(0) | code(1) << 16;
            }
            store_matrices(shared_address(staged(lane % 8, j + lane / 8)), pairs);
          }
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < kAtOnce * kPieces / 32; i++) {
          const int at = i * 32 + lane, row = first + at / kPieces, piece = at % kPieces;
          const int64_t out = place_of(first_row_ + 8 * r + row);
          if (out >= 0) *reinterpret_cast<uint4*>(static_cast<Code*>(output_.rows) + out + piece * kNumbers) = *reinterpret_cast<const uint4*>(staged(row, piece));
        }
      }
    }
  }

  const Run run_;
  const AttentionArgs& args_;
  const AttentionOutput& output_;
  int group_, first_head_, first_row_, warp_position_, warp_lowest_;
  int position_[2], lowest_[2];
  float factor_[2], top_[2], total_[2], fade_[2], lift_[2];  // lift_: the gain's logarithm, less top_
  float unit_, most_scale_, k_scales_[16], output_gain_;     // unit_: a power of two, at least the largest v_scale so far
  int quarter_;  // where the lane's scales begin
  bool rescales_;
  Sum s_[32];
  float y_[32];  // scores, then weights
  uint32_t p_[4][4];
  float o_[S::head_dim / 2];
};

#endif

}  // namespace prefill
}  // namespace kvant::cuda
