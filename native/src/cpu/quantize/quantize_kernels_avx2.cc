#include <immintrin.h>

#include "cpu/linear/float_codes.h"
#include "cpu/quantize/quantize_kernels.h"

namespace kvant {
namespace {

// Eight sums hide the latency of an addition; with two columns and a product they fill 11 of 16 registers.
constexpr int kVectorLanes = 4;
constexpr int kLeftWidth = 4;
constexpr int kRightVectors = 2;
constexpr bool kFusedMultiplyAdd = true;

// 32 codes below 256 in order. Packing keeps to lanes of 128 bits: each then has four codes of every register.
inline __attribute__((always_inline)) __m256i bytes_of(const uint32_t* codes) {
  const __m256i* const from = reinterpret_cast<const __m256i*>(codes);
  const __m256i low = _mm256_packus_epi32(_mm256_load_si256(from), _mm256_load_si256(from + 1));
  const __m256i high = _mm256_packus_epi32(_mm256_load_si256(from + 2), _mm256_load_si256(from + 3));
  return _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

// As in store_line.inc.h, with fewer permutations than GCC takes for those loops.
template <bool kNibbles>
inline __attribute__((always_inline)) void store_line(const uint32_t* codes, uint8_t* out) {
  __m256i* const to = reinterpret_cast<__m256i*>(out);
  const __m256i left = bytes_of(codes), right = bytes_of(codes + 32);
  if constexpr (kNibbles) {
    const __m256i weights = _mm256_set1_epi16(0x1001);
    const __m256i pairs = _mm256_packus_epi16(_mm256_maddubs_epi16(left, weights), _mm256_maddubs_epi16(right, weights));
    _mm256_storeu_si256(to, _mm256_permute4x64_epi64(pairs, 0xd8));
  } else {
    _mm256_storeu_si256(to, left);
    _mm256_storeu_si256(to + 1, right);
  }
}

#include "cpu/quantize/quantize_kernels.inc.h"

}  // namespace

const QuantizeKernels quantize_kernels_avx2 = kKernels;

}  // namespace kvant
