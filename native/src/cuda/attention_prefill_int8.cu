#include "cuda/attention_prefill_kernel.cuh"

namespace kvant::cuda {

void attention_prefill_int8(const AttentionArgs& args, const StepTokens& tokens, const KvPages& pages, const AttentionOutput& output, int multiprocessors, Stream stream) {
  prefill::launch_prefill<Format::int8>(args, tokens, pages, output, multiprocessors, stream);
}

}  // namespace kvant::cuda
