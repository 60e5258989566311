// Which ops do more than the plan says. Norms, gated products and attention whose only reader is the linear op right behind them
// write their result straight into the form that its matrix takes, in place of float32 rows. Attention right behind the op that
// stores its keys and values may do that op's work too.
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

void CudaExecutor::find_takers() {
  std::vector<int> readers(plan_.buffers.size());
  for (const Op& op : plan_.ops) count_reads(op, readers);
  takers_.assign(plan_.ops.size(), kAbsent);
  for (size_t i = 0; i + 1 < plan_.ops.size(); i++) {
    const auto* const linear = std::get_if<LinearOp>(&plan_.ops[i + 1]);
    if (linear == nullptr) continue;
    int out = kAbsent;
    if (const auto* const norm = std::get_if<RmsNormOp>(&plan_.ops[i])) {
      const bool whole_rows = plan_.weights[static_cast<size_t>(norm->weight)].cols == buffer_spec(norm->x).width;
      if (whole_rows) out = norm->out;
    } else if (const auto* const gated = std::get_if<GatedMulOp>(&plan_.ops[i])) {
      out = gated->out;
    } else if (const auto* const attention = std::get_if<AttentionOp>(&plan_.ops[i])) {
      out = attention->out;
    }
    if (out == kAbsent || out != linear->x || readers[static_cast<size_t>(out)] != 1) continue;
    if (buffer_spec(out).kept || buffer_spec(out).width > kMaxPreparedColumns) continue;
    takers_[i] = linear->weight;
  }
  stored_behind_.assign(plan_.ops.size(), false);
  for (size_t i = 0; i + 1 < plan_.ops.size(); i++) {
    const auto* const store = std::get_if<QkvStoreOp>(&plan_.ops[i]);
    const auto* const attention = std::get_if<AttentionOp>(&plan_.ops[i + 1]);
    if (store == nullptr || attention == nullptr || attention->q != store->out) continue;
    const bool same_pages = store->group == attention->group && store->layer == attention->layer;
    stored_behind_[i] = same_pages && readers[static_cast<size_t>(store->out)] == 1 && !buffer_spec(store->out).kept;
  }
}

const CudaMatrix* CudaExecutor::taker_of(size_t index, int64_t count) const {
  if (takers_[index] == kAbsent) return nullptr;
  const CudaMatrix* const matrix = &weights_[static_cast<size_t>(takers_[index])].matrix();
  const auto* const attention = std::get_if<AttentionOp>(&plan_.ops[index]);
  if (attention == nullptr) return matrix;
  // Attention rounds to 16 bit as it writes; a scale per token would need all heads first.
  const PreparedForm form = matrix->prepared_form(count);
  const bool is_half = form.operand == Operand::bf16 || form.operand == Operand::fp16;
  const bool is_plain = is_half && !form.is_scaled() && form.cols == form.padded_cols && !form.has_gaps() && !form.paired;
  return is_plain && attention_rounds(attention_mode_, attention_shape(*attention)) ? matrix : nullptr;
}

}  // namespace kvant::cuda
