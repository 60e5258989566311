#include "cpu/linear/float_codes.h"
#include "cpu/quantize/quantize_kernels.h"

namespace kvant {
namespace {

// What every 64-bit processor has: eight sums of two lanes.
constexpr int kVectorLanes = 2;
constexpr int kLeftWidth = 4;
constexpr int kRightVectors = 2;
constexpr bool kFusedMultiplyAdd = false;

#include "cpu/quantize/store_line.inc.h"

#include "cpu/quantize/quantize_kernels.inc.h"

}  // namespace

const QuantizeKernels quantize_kernels_scalar = kKernels;

}  // namespace kvant
