#include "cpu/linear/float_codes.h"
#include "cpu/quantize/quantize_kernels.h"
#include "cpu/simd/avx512_intrinsics.h"

namespace kvant {
namespace {

// Sixteen sums, so that a row's value is read once for 16 columns.
constexpr int kVectorLanes = 8;
constexpr int kLeftWidth = 8;
constexpr int kRightVectors = 2;
constexpr bool kFusedMultiplyAdd = true;

// As in store_line.inc.h. What GCC makes of those loops takes almost three times as many operations.
template <bool kNibbles>
inline __attribute__((always_inline)) void store_line(const uint32_t* codes, uint8_t* out) {
  const __m512i low = _mm512_packus_epi32(_mm512_load_si512(codes), _mm512_load_si512(codes + 16));
  const __m512i high = _mm512_packus_epi32(_mm512_load_si512(codes + 32), _mm512_load_si512(codes + 48));
  // Packing keeps to lanes of 128 bits: each then has four codes of every register.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
  if constexpr (kNibbles) {
    const __m512i pairs = _mm512_maddubs_epi16(bytes, _mm512_set1_epi16(0x1001));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi16_epi8(pairs));
  } else {
    _mm512_storeu_si512(out, bytes);
  }
}

#include "cpu/quantize/quantize_kernels.inc.h"

}  // namespace

const QuantizeKernels quantize_kernels_avx512vnni = kKernels;

}  // namespace kvant
