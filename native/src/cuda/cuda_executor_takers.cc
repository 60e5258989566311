// Which ops do more than the plan says.
//
//   op, then right behind it its only reader   in place of float32 rows
//   norm, gated product, attention; linear     the form that its matrix takes
//   store of keys and values; attention        attention turns queries as it reads them, and stores too (QkvWork)
//   linear; gated product before a form        bf16, of many tokens, where the form is no finer
//   linear; norm with a residual               the product is added to the norm's rows itself, of many tokens
#include "cuda/cuda_executor.h"
#include "cuda/op_kernels.h"
#include "plan/overloaded.h"

namespace kvant::cuda {
namespace {

void count_reads(const Op& op, std::vector<int>& counts) {
  const auto read = [&](int buffer) {
    if (buffer != kAbsent) counts[static_cast<size_t>(buffer)]++;
  };
  const Overloaded reads{
      [](const EmbedOp&) {},
      [&](const RmsNormOp& norm) { read(norm.x), read(norm.residual); },
      [&](const LinearOp& linear) { read(linear.x); },
      [&](const AddOp& add) { read(add.x), read(add.y); },
      [&](const RopeOp& rope) { read(rope.x); },
      [&](const KvWriteOp& write) { read(write.k), read(write.v); },
      [&](const QkvStoreOp& store) { read(store.qkv); },
      [&](const AttentionOp& attention) { read(attention.q); },
      [&](const GatedMulOp& gated) { read(gated.gate), read(gated.up); },
      [&](const GatherRowsOp& gather) { read(gather.x); },
  };
  std::visit(reads, op);
}

}  // namespace

void CudaExecutor::find_hand_overs() {
  readers_.assign(plan_.buffers.size(), 0);
  for (const Op& op : plan_.ops) count_reads(op, readers_);
  takers_.assign(plan_.ops.size(), kAbsent);
  stored_behind_.assign(plan_.ops.size(), false);
  hand_overs_.assign(plan_.ops.size(), Result::fp32);
  for (size_t i = 0; i + 1 < plan_.ops.size(); i++) takers_[i] = find_taker(i);
  for (size_t i = 0; i + 1 < plan_.ops.size(); i++) {
    stored_behind_[i] = may_store_behind(i);
    hand_overs_[i] = find_hand_over(i);
  }
}

bool CudaExecutor::is_passed(int out, int read) const {
  return out == read && readers_[static_cast<size_t>(out)] == 1 && !buffer_spec(out).kept;
}

int CudaExecutor::find_taker(size_t index) const {
  const auto* const linear = std::get_if<LinearOp>(&plan_.ops[index + 1]);
  if (linear == nullptr) return kAbsent;
  int out = kAbsent;
  if (const auto* const norm = std::get_if<RmsNormOp>(&plan_.ops[index])) {
    const bool whole_rows = plan_.weights[static_cast<size_t>(norm->weight)].cols == buffer_spec(norm->x).width;
    if (whole_rows) out = norm->out;
  } else if (const auto* const gated = std::get_if<GatedMulOp>(&plan_.ops[index])) {
    out = gated->out;
  } else if (const auto* const attention = std::get_if<AttentionOp>(&plan_.ops[index])) {
    out = attention->out;
  }
  if (out == kAbsent || !is_passed(out, linear->x) || buffer_spec(out).width > kMaxPreparedColumns) return kAbsent;
  return linear->weight;
}

bool CudaExecutor::may_store_behind(size_t index) const {
  const auto* const store = std::get_if<QkvStoreOp>(&plan_.ops[index]);
  const auto* const attention = std::get_if<AttentionOp>(&plan_.ops[index + 1]);
  if (store == nullptr || attention == nullptr) return false;
  // It reads rows of the store while it writes its own.
  if (buffer_spec(store->qkv).slot == buffer_spec(attention->out).slot) return false;
  return store->group == attention->group && store->layer == attention->layer && is_passed(store->out, attention->q);
}

Result CudaExecutor::find_hand_over(size_t index) const {
  const auto* const linear = std::get_if<LinearOp>(&plan_.ops[index]);
  if (linear == nullptr) return Result::fp32;
  if (const auto* const norm = std::get_if<RmsNormOp>(&plan_.ops[index + 1])) {
    return norm->residual != kAbsent && is_passed(linear->out, norm->residual) ? Result::added : Result::fp32;
  }
  const auto* const gated = std::get_if<GatedMulOp>(&plan_.ops[index + 1]);
  const int taker = takers_[index + 1];
  if (gated == nullptr || taker == kAbsent || gated->up != kAbsent || !is_passed(linear->out, gated->gate)) return Result::fp32;
  return is_within_bf16(plan_.weights[static_cast<size_t>(taker)].activation) ? Result::bf16 : Result::fp32;
}

Result CudaExecutor::result_of(size_t index, const Launch& launch) const {
  const Result result = hand_overs_[index];
  if (result == Result::fp32) return result;
  const auto& linear = std::get<LinearOp>(plan_.ops[index]);
  const CudaMatrix& matrix = weights_[static_cast<size_t>(linear.weight)].matrix();
  return matrix.gives(result, row_count(linear.x, launch), linear.bias != kAbsent) ? result : Result::fp32;
}

const CudaMatrix* CudaExecutor::taker_of(size_t index, int64_t count) const {
  if (takers_[index] == kAbsent) return nullptr;
  const CudaMatrix* const matrix = &weights_[static_cast<size_t>(takers_[index])].matrix();
  const auto* const attention = std::get_if<AttentionOp>(&plan_.ops[index]);
  if (attention == nullptr) return matrix;
  // Attention rounds to 16 bit as it writes, in the order of columns; a scale per token would need all heads first.
  const PreparedForm form = matrix->prepared_form(count);
  const bool is_half = form.operand == Operand::bf16 || form.operand == Operand::fp16;
  const bool is_plain = is_half && !form.is_scaled() && form.cols == form.padded_cols && !form.has_gaps() && !form.paired;
  return is_plain && attention_rounds(attention_mode_, attention_shape(*attention)) ? matrix : nullptr;
}

}  // namespace kvant::cuda
