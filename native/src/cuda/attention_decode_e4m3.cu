#include "cuda/attention_decode_kernel.cuh"

namespace kvant::cuda {

void attention_decode_e4m3(const DecodeLaunch& launch, const KvPages& pages, Stream stream) {
  decode::launch_decode<Format::e4m3>(launch, pages, stream);
}

}  // namespace kvant::cuda
