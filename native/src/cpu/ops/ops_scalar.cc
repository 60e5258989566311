// The ops in plain C++: the tier that every machine has and that the others are held against.
#include "cpu/simd/vec_scalar.h"
#define KVANT_TIER scalar
#include "cpu/ops/table.inc.h"
