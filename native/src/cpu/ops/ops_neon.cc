// The ops with Advanced SIMD of 64-bit Arm.
#include "cpu/simd/vec_neon.h"
#define KVANT_TIER neon
#include "cpu/ops/table.inc.h"
