#include "cuda/attention_prefill_kernel.cuh"

namespace kvant::cuda {

void attention_prefill_e4m3(const PrefillLaunch& launch, const KvPages& pages, Stream stream) {
  prefill::launch_prefill<Format::e4m3>(launch, pages, stream);
}

}  // namespace kvant::cuda
