#include "cpu/linear/float_codes.h"
#include "cpu/quantize/quantize_kernels.h"

namespace kvant {
namespace {

// Eight sums hide the latency of an addition; with two columns and a product they fill 11 of 16 registers.
constexpr int kVectorLanes = 4;
constexpr int kLeftWidth = 4;
constexpr int kRightVectors = 2;
constexpr bool kFusedMultiplyAdd = true;

#include "cpu/quantize/quantize_kernels.inc.h"

}  // namespace

const QuantizeKernels quantize_kernels_avx2 = kKernels;

}  // namespace kvant
