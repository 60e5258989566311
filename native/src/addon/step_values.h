#pragma once
#include <napi.h>

#include "plan/step.h"

namespace kvant {

// Copies packages/kernels/src/cpu/native-addon.ts `NativeStep` into `inputs`, reusing its memory. Only types are checked;
// validate_step judges the values. Throws Error INVALID_ARGUMENT.
void read_step(Napi::Value value, StepInputs& inputs);

// `NativeStepResult`. Logits and scores are moved into the result, the rest is copied.
Napi::Object write_result(Napi::Env env, StepOutputs& outputs);

}  // namespace kvant
