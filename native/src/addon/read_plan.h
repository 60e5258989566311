#pragma once
#include <napi.h>

#include "plan/step_executor.h"
#include "plan/plan.h"

namespace kvant {

// The C++ form of packages/kernels/src/cpu/native-addon.ts `NativePlan` and `NativeOptions`. Only types are checked here;
// validate_plan judges the values. Throws Error INVALID_ARGUMENT.
Plan read_plan(Napi::Value value);
ExecutorOptions read_options(Napi::Value value);

}  // namespace kvant
