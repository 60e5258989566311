#include "cpu/linear/float_codes.h"
#include "cpu/quantize/quantize_kernels.h"

namespace kvant {
namespace {

// Eight sums hide the latency of an addition; with two columns and a product they fill 11 of 16 registers.
constexpr int kVectorLanes = 4;
constexpr int kLeftWidth = 4;
constexpr int kRightVectors = 2;
constexpr bool kFusedMultiplyAdd = true;

#include "cpu/quantize/product_strips.inc.h"
#include "cpu/quantize/quantize_rows.inc.h"

}  // namespace

const QuantizeKernels quantize_kernels_avx2 = {
    .left_width = kLeftWidth,
    .right_width = kRightWidth,
    .pack_left = pack<kLeftWidth>,
    .pack_right = pack<kRightWidth>,
    .add_tile = add_tile,
    .absmax = absmax,
    .int8 = quantize_row<Integers<127>, false>,
    .int4 = quantize_row<Integers<7>, true>,
    .int3 = quantize_row<Integers<3>, true>,
    .int2 = quantize_row<Integers<1>, true>,
    .e4m3 = quantize_row<Floats<Format::e4m3>, false>,
    .e5m2 = quantize_row<Floats<Format::e5m2>, false>,
    .e2m1 = quantize_row<Floats<Format::e2m1>, true>,
};

}  // namespace kvant
