#pragma once
#include "coded_row.h"
#include "packed_layout.h"

namespace kvant::linear {

// Each writes one row into the packed matrix. Rows are independent: any thread may pack any row.

// Rounds float32 [cols] to a format of 16 or 32 bits.
void pack_float_row(const PackedLayout& layout, Format format, const float* values, int64_t row, uint8_t* weights);

// Codes of 8 or 4 bits. `tensor_scale`: the factor of e4m3 scales.
void pack_row(const PackedLayout& layout, Format format, Scales scales, const CodedRow& from, float tensor_scale, int64_t row,
              uint8_t* weights);

}  // namespace kvant::linear
