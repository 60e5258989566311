#include <algorithm>
#include <cstring>
#include <functional>

#include "cpu/executor.h"

namespace kvant {
namespace {

// Values that an elementwise range handles at least: below it, calling another thread costs more than the work.
constexpr int64_t kRangeValues = 16384;

int64_t grain_of(int64_t width) { return std::max<int64_t>(1, kRangeValues / width); }

}  // namespace

int64_t Executor::row_count(int buffer_index) const {
  return buffer_spec(buffer_index).rows == Rows::tokens ? tokens_.count : static_cast<int64_t>(logit_tokens_.size());
}

void Executor::run_op(const EmbedOp& op) {
  const LoadedWeight& table = weights_[static_cast<size_t>(op.table)];
  const int64_t width = buffer_spec(op.out).width;
  const auto body = [&](int64_t begin, int64_t end, int) {
    kernels_.embed(tokens_, table.table(), table.table_format(), width, buffer(op.out), begin, end);
  };
  pool_.parallel_for(tokens_.count, grain_of(width), std::ref(body));
}

void Executor::run_op(const RmsNormOp& op) {
  const float* const residual = op.residual == kAbsent ? nullptr : buffer(op.residual);
  const float* const weight = weights_[static_cast<size_t>(op.weight)].vector();
  const int64_t width = buffer_spec(op.x).width, norm_width = plan_.weights[static_cast<size_t>(op.weight)].cols;
  const auto body = [&](int64_t begin, int64_t end, int) {
    kernels_.rms_norm(buffer(op.x), residual, weight, width, norm_width, op.epsilon, buffer(op.out), begin, end);
  };
  pool_.parallel_for(row_count(op.x), grain_of(width), std::ref(body));
}

void Executor::run_op(const LinearOp& op) {
  const Matrix& matrix = weights_[static_cast<size_t>(op.weight)].matrix();
  const int64_t count = row_count(op.x);
  if (count == 0) return;
  matrix.prepare_all(buffer(op.x), count, prepared_.data(), pool_);
  matrix.run_all(prepared_.data(), count, optional_vector(op.bias), buffer(op.out), pool_);
}

void Executor::run_op(const AddOp& op) {
  const int64_t width = buffer_spec(op.x).width;
  const auto body = [&](int64_t begin, int64_t end, int) {
    kernels_.add(buffer(op.x), buffer(op.y), buffer(op.out), width, begin, end);
  };
  pool_.parallel_for(row_count(op.x), grain_of(width), std::ref(body));
}

void Executor::run_op(const RopeOp& op) {
  const RopeTables rope = rope_tables(op.rope);
  const int64_t width = buffer_spec(op.x).width;
  const auto body = [&](int64_t begin, int64_t end, int) {
    kernels_.rope(buffer(op.x), rope, tokens_, width, op.head_dim, buffer(op.out), begin, end);
  };
  pool_.parallel_for(tokens_.count, grain_of(width), std::ref(body));
}

void Executor::run_op(const KvWriteOp& op) {
  const KvPages& pages = kv_groups_[static_cast<size_t>(op.group)].view;
  const auto body = [&](int64_t begin, int64_t end, int) {
    saturations_ += kernels_.kv_write(buffer(op.k), buffer(op.v), tokens_, pages, op.layer, begin, end);
  };
  pool_.parallel_for(tokens_.count, grain_of(buffer_spec(op.k).width), std::ref(body));
}

void Executor::run_op(const QkvStoreOp& op) {
  const KvPages& pages = kv_groups_[static_cast<size_t>(op.group)].view;
  const QkvStoreArgs args{.qkv = buffer(op.qkv),
                          .q_out = buffer(op.out),
                          .heads = op.heads,
                          .q_norm = optional_vector(op.q_norm),
                          .k_norm = optional_vector(op.k_norm),
                          .epsilon = op.epsilon,
                          .rope = rope_tables(op.rope),
                          .layer = op.layer};
  const auto body = [&](int64_t begin, int64_t end, int) {
    saturations_ += kernels_.qkv_store(args, tokens_, pages, begin, end);
  };
  pool_.parallel_for(tokens_.count, grain_of(buffer_spec(op.qkv).width), std::ref(body));
}

// One item per tile and KV head.
void Executor::run_op(const AttentionOp& op) {
  const KvPages& pages = kv_groups_[static_cast<size_t>(op.group)].view;
  const AttentionArgs args{.q = buffer(op.q), .out = buffer(op.out), .heads = op.heads, .scale = op.scale, .layer = op.layer};
  const auto body = [&](int64_t begin, int64_t end, int thread) {
    void* const scratch = attention_scratch_.as<uint8_t>() + static_cast<size_t>(thread) * attention_scratch_stride_;
    for (int64_t item = begin; item < end; item++) {
      const AttentionTile& tile = tiles_[static_cast<size_t>(item / pages.kv_heads)];
      kernels_.attention(args, tokens_, pages, tile, static_cast<int>(item % pages.kv_heads), scratch);
    }
  };
  pool_.parallel_for(static_cast<int64_t>(tiles_.size()) * pages.kv_heads, 1, std::ref(body));
}

void Executor::run_op(const GatedMulOp& op) {
  const float* const up = op.up == kAbsent ? nullptr : buffer(op.up);
  const int64_t width = buffer_spec(op.out).width;
  const auto body = [&](int64_t begin, int64_t end, int) {
    kernels_.gated_mul(op.function, buffer(op.gate), up, buffer(op.out), width, begin, end);
  };
  pool_.parallel_for(row_count(op.out), grain_of(width), std::ref(body));
}

void Executor::run_op(const GatherRowsOp& op) {
  const int64_t width = buffer_spec(op.x).width;
  for (size_t row = 0; row < logit_tokens_.size(); row++) {
    std::memcpy(buffer(op.out) + static_cast<int64_t>(row) * width, buffer(op.x) + logit_tokens_[row] * width,
                static_cast<size_t>(width) * sizeof(float));
  }
}

}  // namespace kvant
