#pragma once
#include <napi.h>

#include <memory>

#include "cpu/quantize/add_product.h"
#include "cpu/quantize/quantize_kernels.h"
#include "kvant/thread_pool.h"

namespace kvant {

// packages/kernels/src/cpu/native-addon.ts `NativeQuantizeMath`: threads, a tier and scratch memory for quantization. Calls
// are synchronous and run on the calling thread and the workers of the pool, which sleep between them.
class QuantizeMath : public Napi::ObjectWrap<QuantizeMath> {
 public:
  static Napi::Function define(Napi::Env env);
  // (options)
  explicit QuantizeMath(const Napi::CallbackInfo& call);

 private:
  void add_product(const Napi::CallbackInfo& call);
  void quantize_absmax(const Napi::CallbackInfo& call);
  void dequantize(const Napi::CallbackInfo& call);
  Napi::Value sum_errors(const Napi::CallbackInfo& call);
  Napi::Value count_values(const Napi::CallbackInfo& call);
  void scale_matrix(const Napi::CallbackInfo& call);
  Napi::Value all_finite(const Napi::CallbackInfo& call);

  std::unique_ptr<ThreadPool> pool_;
  const QuantizeKernels* kernels_ = nullptr;
  ProductScratch scratch_;
};

}  // namespace kvant
