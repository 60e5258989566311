#pragma once
#include "coded_row.h"
#include "kernel_table.h"
#include "packed_layout.h"

namespace kvant::linear {

// `columns` values of dtype fp32, bf16 or fp16 as float32.
void widen(Format dtype, const void* source, int64_t columns, float* out);

// Quantizes one row of float32 [cols] to codes of 8 or 4 bits. Scales are per group, or `tensor_scale` where it is not negative;
// with e4m3 scales it is the factor of them all.
void quantize_row(const PackedLayout& layout, const MatrixSpec& spec, const LinearKernels& kernels, const float* values,
                  float tensor_scale, CodedRow& out);

}  // namespace kvant::linear
