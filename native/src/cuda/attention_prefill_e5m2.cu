#include "cuda/attention_prefill_kernel.cuh"

namespace kvant::cuda {

void attention_prefill_e5m2(const PrefillLaunch& launch, const KvPages& pages, Stream stream) {
  prefill::launch_prefill<Format::e5m2>(launch, pages, stream);
}

}  // namespace kvant::cuda
