#include "cuda/attention_decode_kernel.cuh"

namespace kvant::cuda {

void attention_decode_fp16(const DecodeLaunch& launch, const KvPages& pages, Stream stream) {
  decode::launch_decode<Format::fp16>(launch, pages, stream);
}

}  // namespace kvant::cuda
