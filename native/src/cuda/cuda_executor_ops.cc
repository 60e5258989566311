#include "cuda/cuda_executor.h"
#include "cuda/op_kernels.h"

namespace kvant::cuda {

int64_t CudaExecutor::row_count(int buffer_index, const Launch& launch) const {
  return buffer_spec(buffer_index).rows == Rows::tokens ? launch.tokens : launch.logit_rows;
}

StepTokens CudaExecutor::tokens_of(const Launch& launch) const {
  return {launch.tokens, arrays_.ids, arrays_.positions, arrays_.slots};
}

void CudaExecutor::run_op(const EmbedOp& op, size_t, const Launch& launch) {
  const DeviceWeight& table = weights_[static_cast<size_t>(op.table)];
  embed(tokens_of(launch), table.table(), table.table_format(), buffer_spec(op.out).width, buffer(op.out), stream_.get());
}

void CudaExecutor::run_op(const RmsNormOp& op, size_t index, const Launch& launch) {
  const int64_t count = row_count(op.x, launch);
  if (count == 0) return;
  const bool is_added = index > 0 && result_of(index - 1, launch) == Result::added;
  const float* const residual = op.residual == kAbsent || is_added ? nullptr : buffer(op.residual);
  const float* const weight = weights_[static_cast<size_t>(op.weight)].vector();
  if (const CudaMatrix* const taker = taker_of(index, count)) {
    return rms_norm_prepared(buffer(op.x), residual, weight, count, op.epsilon, taker->prepared_form(count),
                             taker->prepared_at(count, workspace_.data()), stream_.get());
  }
  const int64_t norm_width = plan_.weights[static_cast<size_t>(op.weight)].cols;
  rms_norm(buffer(op.x), residual, weight, count, buffer_spec(op.x).width, norm_width,
           op.epsilon, buffer(op.out), stream_.get());
}

void CudaExecutor::run_op(const LinearOp& op, size_t index, const Launch& launch) {
  const int64_t count = row_count(op.x, launch);
  if (count == 0) return;
  const CudaMatrix& matrix = weights_[static_cast<size_t>(op.weight)].matrix();
  if (!arrives_prepared(index, count)) matrix.prepare(buffer(op.x), count, workspace_.data(), stream_.get());
  Destination to = {.y = buffer(op.out), .result = result_of(index, launch)};
  if (to.result == Result::added) to.onto = buffer(std::get<RmsNormOp>(plan_.ops[index + 1]).x);
  matrix.multiply(count, optional_vector(op.bias), to, workspace_.data(), stream_.get());
}

void CudaExecutor::run_op(const AddOp& op, size_t, const Launch& launch) {
  const int64_t values = row_count(op.x, launch) * buffer_spec(op.x).width;
  if (values > 0) add(buffer(op.x), buffer(op.y), buffer(op.out), values, stream_.get());
}

void CudaExecutor::run_op(const RopeOp& op, size_t, const Launch& launch) {
  rope(buffer(op.x), rope_tables(op.rope), tokens_of(launch), buffer_spec(op.x).width, op.head_dim, buffer(op.out),
       stream_.get());
}

void CudaExecutor::run_op(const KvWriteOp& op, size_t, const Launch& launch) {
  kv_write(buffer(op.k), buffer(op.v), tokens_of(launch), kv_groups_[static_cast<size_t>(op.group)].view, op.layer,
           arrays_.saturations, stream_.get());
}

QkvStoreArgs CudaExecutor::store_args(const QkvStoreOp& op) const {
  return {.qkv = buffer(op.qkv),
          .q_out = buffer(op.out),
          .heads = op.heads,
          .q_norm = optional_vector(op.q_norm),
          .k_norm = optional_vector(op.k_norm),
          .epsilon = op.epsilon,
          .rope = rope_tables(op.rope),
          .layer = op.layer};
}

QkvWork CudaExecutor::work_behind(size_t index, const Launch& launch) const {
  if (!stored_behind_[index]) return QkvWork::none;
  return attention_work(attention_mode_, launch.rows, attention_shape(std::get<AttentionOp>(plan_.ops[index + 1])));
}

void CudaExecutor::run_op(const QkvStoreOp& op, size_t index, const Launch& launch) {
  const QkvWork behind = work_behind(index, launch);
  if (behind == QkvWork::all) return;
  QkvStoreArgs args = store_args(op);
  if (behind == QkvWork::queries) args.q_out = nullptr;
  qkv_store(args, tokens_of(launch), kv_groups_[static_cast<size_t>(op.group)].view, arrays_.saturations, stream_.get());
}

AttentionShape CudaExecutor::attention_shape(const AttentionOp& op) const {
  const KvGroupSpec& group = plan_.kv_groups[static_cast<size_t>(op.group)];
  return {group.format, op.heads, group.kv_heads, group.head_dim};
}

void CudaExecutor::run_op(const AttentionOp& op, size_t index, const Launch& launch) {
  const AttentionArgs args{.q = buffer(op.q), .out = buffer(op.out), .heads = op.heads, .scale = op.scale, .layer = op.layer};
  AttentionExtras extras;
  extras.saturations = arrays_.saturations;
  if (index > 0) extras.work = work_behind(index - 1, launch);
  if (extras.work != QkvWork::none) extras.qkv = store_args(std::get<QkvStoreOp>(plan_.ops[index - 1]));
  if (const CudaMatrix* const taker = taker_of(index, launch.tokens)) {
    extras.rounded = taker->prepared_at(launch.tokens, workspace_.data()).values;
    extras.rounded_format = taker->prepared_form(launch.tokens).activation;
  }
  attention(attention_mode_, launch.rows, args, tokens_of(launch), kv_groups_[static_cast<size_t>(op.group)].view, extras,
            attention_scratch_.data(), stream_.get());
}

void CudaExecutor::run_op(const GatedMulOp& op, size_t index, const Launch& launch) {
  const int64_t count = row_count(op.out, launch);
  if (count == 0) return;
  const float* const up = op.up == kAbsent ? nullptr : buffer(op.up);
  if (const CudaMatrix* const taker = taker_of(index, count)) {
    const Gates gates = {buffer(op.gate), index > 0 && result_of(index - 1, launch) == Result::bf16};
    return gated_mul_prepared(op.function, gates, up, count, taker->prepared_form(count), taker->prepared_at(count, workspace_.data()),
                              stream_.get());
  }
  gated_mul(op.function, buffer(op.gate), up, buffer(op.out), count, buffer_spec(op.out).width, stream_.get());
}

void CudaExecutor::run_op(const GatherRowsOp& op, size_t, const Launch& launch) {
  if (launch.logit_rows == 0) return;
  gather_rows(buffer(op.x), arrays_.logit_tokens, buffer(op.out), launch.logit_rows, buffer_spec(op.x).width, stream_.get());
}

}  // namespace kvant::cuda
