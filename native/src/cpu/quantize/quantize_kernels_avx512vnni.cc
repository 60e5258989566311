#include "cpu/linear/float_codes.h"
#include "cpu/quantize/quantize_kernels.h"

namespace kvant {
namespace {

// Sixteen sums, so that a row's value is read once for 16 columns.
constexpr int kVectorLanes = 8;
constexpr int kLeftWidth = 8;
constexpr int kRightVectors = 2;
constexpr bool kFusedMultiplyAdd = true;

#include "cpu/quantize/quantize_kernels.inc.h"

}  // namespace

const QuantizeKernels quantize_kernels_avx512vnni = kKernels;

}  // namespace kvant
