#pragma once
#include <napi.h>

#include <memory>

#include "kvant/cuda/calibration.h"

namespace kvant {

// packages/kernels/src/cpu/native-addon.ts `NativeCalibration`. Calls are synchronous; the device works through what was added while
// the caller goes on.
class Calibration : public Napi::ObjectWrap<Calibration> {
 public:
  static Napi::Function define(Napi::Env env);
  // (options), or an external unique_ptr whose calibration is taken over
  explicit Calibration(const Napi::CallbackInfo& call);

  // The open calibration that a value wraps. Throws Error INVALID_ARGUMENT for any other value.
  static CudaCalibration& of(Napi::Value value);

 private:
  void add(const Napi::CallbackInfo& call);
  Napi::Value figures(const Napi::CallbackInfo& call);
  void read_gram(const Napi::CallbackInfo& call);
  Napi::Value divide(const Napi::CallbackInfo& call);
  Napi::Value quantize_gptq(const Napi::CallbackInfo& call);
  Napi::Value awq_losses(const Napi::CallbackInfo& call);
  Napi::Value awq_clip(const Napi::CallbackInfo& call);
  Napi::Value output_errors(const Napi::CallbackInfo& call);
  void close(const Napi::CallbackInfo& call);

  CudaCalibration& open() const;

  std::unique_ptr<CudaCalibration> calibration_;  // null: closed
};

}  // namespace kvant
