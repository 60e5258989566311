#include "cuda/attention_prefill_kernel.cuh"

namespace kvant::cuda {

void attention_prefill_bf16(const PrefillLaunch& launch, const KvPages& pages, Stream stream) {
  prefill::launch_prefill<Format::bf16>(launch, pages, stream);
}

}  // namespace kvant::cuda
