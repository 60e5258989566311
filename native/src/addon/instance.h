#pragma once
#include <napi.h>

namespace kvant {

// What one environment (main thread or worker) holds of the addon; there are no globals.
struct Instance {
  Napi::FunctionReference executable, quantize_math, calibration;
};

}  // namespace kvant
