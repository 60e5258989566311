#include "cuda/attention_decode_kernel.cuh"

namespace kvant::cuda {

void attention_decode_bf16(const DecodeLaunch& launch, const KvPages& pages, Stream stream) {
  decode::launch_decode<Format::bf16>(launch, pages, stream);
}

}  // namespace kvant::cuda
