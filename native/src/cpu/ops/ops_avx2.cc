// The ops with AVX2, FMA and F16C.
#include "cpu/simd/vec_avx2.h"
#define KVANT_TIER avx2
#include "cpu/ops/table.inc.h"
