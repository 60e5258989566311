#pragma once
#include "kvant/ops.h"

// The op table of each tier; defined in ops_<tier>.cc, which the build compiles only where the tier can exist.
namespace kvant::scalar {
extern const OpKernels op_table;
}
namespace kvant::avx2 {
extern const OpKernels op_table;
}
namespace kvant::avx512vnni {
extern const OpKernels op_table;
}
namespace kvant::neon {
extern const OpKernels op_table;
}
