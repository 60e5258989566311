// Which ops write their result straight into the form of the matrix that takes it, in place of float32 rows: norms and gated
// products whose only reader is the linear op right behind them.
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
    }
    if (out == kAbsent || out != linear->x || readers[static_cast<size_t>(out)] != 1) continue;
    if (buffer_spec(out).kept || buffer_spec(out).width > kMaxPreparedColumns) continue;
    takers_[i] = linear->weight;
  }
}

const CudaMatrix* CudaExecutor::taker_of(size_t index) const {
  return takers_[index] == kAbsent ? nullptr : &weights_[static_cast<size_t>(takers_[index])].matrix();
}

}  // namespace kvant::cuda
