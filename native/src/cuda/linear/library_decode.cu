// out[n, k] = decode(code[n, k]): codes of 8 bits to fp16 or bf16, exact.
// codes: [N, chunk][c][unit][8 columns] (layout.h)   out: [N, padded K], row-major
// One thread per 16 bytes of codes; reads N * K bytes and writes twice as many, which the product then finds in the second-level
// cache.
#include "../check.h"
#include "decode.cuh"
#include "library_scale.h"

namespace kvant::cuda::linear::library {
namespace {

constexpr int kThreads = 256;

template <Format F, class Pair>
__global__ void __launch_bounds__(kThreads) decode_kernel(const uint4* codes, size_t vectors, uint4* out) {
  const size_t at = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= vectors) return;
  const uint4 words = __ldg(codes + at);
  const uint32_t units[2][2] = {{words.x, words.y}, {words.z, words.w}};
  const size_t chunk = at / 4, c = at % 4;  // rows are whole chunks, so a chunk's place does not depend on its row
#pragma unroll
  for (int unit = 0; unit < 2; unit++) {
    uint32_t pairs[4];
    Decoder<F, Pair>::template eight<false>(units[unit], 0, pairs);
    out[chunk * 8 + unit * 4 + c] = {pairs[0], pairs[1], pairs[2], pairs[3]};
  }
}

template <Format F>
void decode(const uint8_t* codes, size_t count, bool half, void* out, cudaStream_t stream) {
  static_assert(Decoder<F, __half2>::kFactor == 1 && Decoder<F, __nv_bfloat162>::kFactor == 1);
  const size_t vectors = count / 16;
  const unsigned blocks = static_cast<unsigned>((vectors + kThreads - 1) / kThreads);
  const auto* const from = reinterpret_cast<const uint4*>(codes);
  auto* const to = static_cast<uint4*>(out);
  half ? decode_kernel<F, __half2><<<blocks, kThreads, 0, stream>>>(from, vectors, to)
       : decode_kernel<F, __nv_bfloat162><<<blocks, kThreads, 0, stream>>>(from, vectors, to);
  check_launch("linear decode for a library product");
}

}  // namespace

void decode_codes(Format format, const uint8_t* codes, size_t count, bool half, void* out, cudaStream_t stream) {
  switch (format) {
    case Format::int8: return decode<Format::int8>(codes, count, half, out, stream);
    case Format::e4m3: return decode<Format::e4m3>(codes, count, half, out, stream);
    default: return decode<Format::e5m2>(codes, count, half, out, stream);
  }
}

}  // namespace kvant::cuda::linear::library
