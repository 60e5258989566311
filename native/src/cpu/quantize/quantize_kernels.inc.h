// All that one tier contributes, as kKernels; included by quantize_kernels_<tier>.cc inside an unnamed namespace, after that in
// which tiers differ: kVectorLanes, kLeftWidth, kRightVectors, kFusedMultiplyAdd and store_line.

#include "cpu/quantize/product_strips.inc.h"
#include "cpu/quantize/quantize_rows.inc.h"

constexpr QuantizeKernels kKernels = {
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
