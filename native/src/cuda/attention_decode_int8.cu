#include "cuda/attention_decode_kernel.cuh"

namespace kvant::cuda {

void attention_decode_int8(const DecodeLaunch& launch, const KvPages& pages, Stream stream) {
  decode::launch_decode<Format::int8>(launch, pages, stream);
}

}  // namespace kvant::cuda
