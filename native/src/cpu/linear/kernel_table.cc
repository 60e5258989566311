#include "kernel_table.h"

namespace kvant::linear {

const LinearKernels& linear_kernels(Tier) { return kernels_scalar; }

}  // namespace kvant::linear
