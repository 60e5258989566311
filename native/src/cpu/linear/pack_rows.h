#pragma once
#include "kernel_table.h"
#include "packed_layout.h"

namespace kvant::linear {

// `columns` values of dtype fp32, bf16 or fp16 as float32.
void widen(Format dtype, const void* source, int64_t columns, float* out);

// Quantizes one row of float32 [cols] and writes its codes and scales into the packed matrix. Scales are per group, or
// `tensor_scale` where it is not negative; with e4m3 scales it is the factor of them all. Rows are independent: any thread
// may pack any row.
void pack_row(const PackedLayout& layout, Format format, Scales scales, const LinearKernels& kernels, const float* values, int64_t row,
              float tensor_scale, uint8_t* weights);

}  // namespace kvant::linear
