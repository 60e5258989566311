// The ops with AVX-512 F, BW, VL and DQ.
#include "cpu/simd/vec_avx512vnni.h"
#define KVANT_TIER avx512vnni
#include "cpu/ops/table.inc.h"
