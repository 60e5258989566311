// The table of one tier. A file <name>_<tier>.cc defines KVANT_TIER, includes that tier's vec header, then this file.
// Everything here has internal linkage except the table itself: code compiled with a tier's flags must not be merged by
// the linker with code that runs before the tier was chosen.
#ifndef KVANT_TIER
#error "define KVANT_TIER and include the tier's vec header first"
#endif
#include "cpu/ops/tables.h"
#include "cpu/simd/math.inc.h"
#include "cpu/simd/codes.inc.h"
#include "cpu/ops/elementwise.inc.h"
#include "cpu/ops/kv_store.inc.h"
#include "cpu/ops/attention_block.inc.h"
#include "cpu/ops/attention_codes.inc.h"
#include "cpu/ops/attention.inc.h"
#include "cpu/ops/attention_fixed_point.inc.h"
#include "cpu/ops/attention_table.inc.h"

namespace kvant::KVANT_TIER {

const OpKernels op_table = {
    .embed = embed,
    .rms_norm = rms_norm,
    .add = add,
    .rope = rope,
    .kv_write = kv_write,
    .qkv_store = qkv_store,
    .attention = attention,
    .gated_mul = gated_mul,
};

}  // namespace kvant::KVANT_TIER
