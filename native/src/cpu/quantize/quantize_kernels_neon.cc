#include "cpu/linear/float_codes.h"
#include "cpu/quantize/quantize_kernels.h"

namespace kvant {
namespace {

// Sixteen sums, four columns and a row's value fill 21 of 32 registers.
constexpr int kVectorLanes = 2;
constexpr int kLeftWidth = 4;
constexpr int kRightVectors = 4;
constexpr bool kFusedMultiplyAdd = true;

#include "cpu/quantize/store_line.inc.h"

#include "cpu/quantize/quantize_kernels.inc.h"

}  // namespace

const QuantizeKernels quantize_kernels_neon = kKernels;

}  // namespace kvant
