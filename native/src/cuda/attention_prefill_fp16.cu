#include "cuda/attention_prefill_kernel.cuh"

namespace kvant::cuda {

void attention_prefill_fp16(const AttentionArgs& args, const StepTokens& tokens, const KvPages& pages, const AttentionOutput& output, int multiprocessors, Stream stream) {
  prefill::launch_prefill<Format::fp16>(args, tokens, pages, output, multiprocessors, stream);
}

}  // namespace kvant::cuda
