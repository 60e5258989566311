#pragma once
// Queries of attention_prefill.cuh: float32 rows, or what qkv_store would have made of them, become operands of S.
#include <cfloat>
#include <cmath>

#include "cuda/attention_prefill.cuh"
#include "cuda/rotate.cuh"

namespace kvant::cuda {
namespace prefill {

// What the queriers make of a run: rows of a warp in passes, with the next passes on their way to shared memory.
template <class S>
class QueryWriter {
 public:
  // Begins to read.
  __device__ QueryWriter(const Run& run, int kv_head, const PrefillLaunch& launch, int kv_heads, Memory<S>& memory)
      : run_(run), launch_(launch), ahead_(memory.ahead), group_(launch.args.heads / kv_heads), token_(row(0) / group_), head_(row(0) % group_) {
    const bool turns = launch.qkv.qkv != nullptr;
    stride_ = (launch.args.heads + (turns ? 2 * kv_heads : 0)) * S::head_dim;
    rows_ = (turns ? launch.qkv.qkv : launch.args.q) + run.first * stride_ + kv_head * group_ * S::head_dim;
    read(0);
    read_angles(0);
    read(1);
  }

  // queries: operands of the consumers; scales: [kRows]
  __device__ void write(uint8_t* queries, float* scales) {
#pragma unroll 1
    for (int pass = 0; pass < kPasses; pass++) {
      wait_copies<1>();
      leave(pass, queries, scales);
      read(pass + kQueryPasses);
    }
  }

 private:
  static constexpr int kLanes = S::kRowLanes, kVectors = S::kRowVectors, kLow = kVectors / 2;
  static constexpr int kPassRows = 32 / kLanes, kWarpRows = S::kRows / (kQueriers / 32), kPasses = kWarpRows / kPassRows;
  static_assert(kVectors * 4 * kLanes == S::head_dim && kQueryPasses == 2 && kPasses >= kQueryPasses);

  static __device__ int row(int pass) {
    const int thread = static_cast<int>(threadIdx.x) % kQueriers;
    return thread / 32 * kWarpRows + pass * kPassRows + thread % 32 / kLanes;
  }
  // The lane's four numbers of vector v begin here.
  static __device__ int dim(int v) { return (v * kLanes + static_cast<int>(threadIdx.x) % kLanes) * 4; }

  template <class Value, class Op>
  static __device__ Value reduce(Value value, Op op) {
#pragma unroll
    for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) value = op(value, __shfl_xor_sync(0xffffffffu, value, lanes));
    return value;
  }

  __device__ float4* place(int pass, int vector) const { return &ahead_[pass % kQueryPasses * kVectors + vector][threadIdx.x % kQueriers]; }
  __device__ float4* angle_place(int vector) const { return &ahead_[kQueryPasses * kVectors + vector][threadIdx.x % kQueriers]; }

  // Passes come in order; those past the last are empty, and rows that are not there zeros.
  __device__ void read(int pass) {
    if (pass < kPasses) {
      last_token_ = min(token_, run_.tokens - 1);
      const float* const q = rows_ + last_token_ * stride_ + head_ * S::head_dim;
#pragma unroll
      for (int v = 0; v < kVectors; v++) copy_async(shared_address(place(pass, v)), q + dim(v), last_token_ == token_);
      for (head_ += kPassRows; head_ >= group_; head_ -= group_) token_++;
    }
    commit_copies();
  }

  // Cosines and sines of the pass that was read last.
  __device__ void read_angles(int pass) {
    const RopeTables& rope = launch_.qkv.rope;
    if (S::kTurns && pass < kPasses && rope.cos != nullptr) {
      const int64_t at = int64_t{run_.position + last_token_} * (S::head_dim / 2);
#pragma unroll
      for (int v = 0; v < kLow; v++) {
        copy_async(shared_address(angle_place(v)), rope.cos + at + dim(v), true);
        copy_async(shared_address(angle_place(kLow + v)), rope.sin + at + dim(v), true);
      }
    }
    commit_copies();
  }

  static __device__ void load(const float4* from, float (&to)[4]) {
    const float4 four = *from;
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
  }

  // The arithmetic of kv_store.cu, number by number, but for the order in which the norm adds squares.
  __device__ void turn(float (&x)[kVectors][4]) const {
    const QkvStoreArgs& qkv = launch_.qkv;
    if (qkv.q_norm != nullptr) {
      double squares = 0;
#pragma unroll
      for (int v = 0; v < kVectors; v++) {
#pragma unroll
        for (int i = 0; i < 4; i++) squares += static_cast<double>(x[v][i]) * x[v][i];
      }
      squares = reduce(squares, Sum());
      const auto inverse = static_cast<float>(1.0 / sqrt(squares / S::head_dim + static_cast<double>(qkv.epsilon)));
#pragma unroll
      for (int v = 0; v < kVectors; v++) {
#pragma unroll
        for (int i = 0; i < 4; i++) x[v][i] = x[v][i] * inverse * qkv.q_norm[dim(v) + i];
      }
    }
    if (qkv.rope.cos == nullptr) return;
#pragma unroll
    for (int v = 0; v < kLow; v++) {
      float cosines[4], sines[4];
      load(angle_place(v), cosines);
      load(angle_place(kLow + v), sines);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float2 turned = rotate(x[v][i], x[v + kLow][i], cosines[i], sines[i]);
        x[v][i] = turned.x, x[v + kLow][i] = turned.y;
      }
    }
  }

  __device__ void leave(int pass, uint8_t* queries, float* scales) {
    const int row = QueryWriter::row(pass);
    float x[kVectors][4];
#pragma unroll
    for (int v = 0; v < kVectors; v++) load(place(pass, v), x[v]);
    if constexpr (S::kTurns) {
      if (launch_.qkv.qkv != nullptr) turn(x);
    }
    read_angles(pass + 1);
    float scale = 1, inverse = 1;
    if constexpr (!S::kBf16) {
      float most = 0;
#pragma unroll
      for (int v = 0; v < kVectors; v++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          if (fabsf(x[v][i]) > most) most = fabsf(x[v][i]);
        }
      }
      most = fminf(reduce(most, Most()), FLT_MAX);
      scale = S::kInt8 ? most / max_value(Format::int8) : fp16_scale(most);
      if (scale == 0) scale = 1;  // codes are 0
      inverse = 1 / scale;        // fp16: exact
    }
    if (threadIdx.x % kLanes == 0) scales[row] = scale;
    uint8_t* const operand = queries + row / 64 * S::kKeyBytes;
#pragma unroll
    for (int v = 0; v < kVectors; v++) {
      uint8_t* const to = operand + swizzled(row % 64, dim(v) * (S::kInt8 ? 1 : 2));
      if constexpr (S::kInt8) {
        // x / scale to nearest, as the division that others take, in three operations.
        const auto code = [&](float value) {
          const float quotient = value * inverse;
          const float rest = fabsf(quotient) < 128 ? fmaf(-quotient, scale, value) : 0;  // infinity saturates
          return static_cast<uint32_t>(Codes<Format::int8>::encode(fmaf(rest, inverse, quotient))) & 255;
        };
        *reinterpret_cast<uint32_t*>(to) = code(x[v][0]) | code(x[v][1]) << 8 | code(x[v][2]) << 16 | code(x[v][3]) << 24;
      } else {
        *reinterpret_cast<uint2*>(to) = {pack<S::kBf16>(x[v][0] * inverse, x[v][1] * inverse), pack<S::kBf16>(x[v][2] * inverse, x[v][3] * inverse)};
      }
    }
  }

  const Run& run_;
  const PrefillLaunch& launch_;
  float4 (&ahead_)[kQueryPasses * S::kRowVectors + S::kAngleVectors][kQueriers];
  const float* rows_;
  int stride_, group_;
  int token_, head_, last_token_ = 0;  // of the next row that is read, and of the last
};

}  // namespace prefill
}  // namespace kvant::cuda
