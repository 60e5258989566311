#include <napi.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "addon/calibration.h"
#include "addon/executable.h"
#include "addon/instance.h"
#include "addon/js_error.h"
#include "addon/quantize_math.h"
#include "addon/value_reader.h"
#include "cpu/probe.h"
#include "cpu/probe_compute.h"
#include "kvant/cuda.h"
#include "kvant/tier.h"
#include "plan/check_value.h"

namespace kvant {
namespace {

// Counts the changes of the surface in packages/kernels/src/cpu/native-addon.ts.
constexpr int kAbi = 8;

std::string compiler_name() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "gcc " __VERSION__;
#endif
}

Napi::Value info(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  Napi::Object result = Napi::Object::New(env);
  const Tiers tiers = find_tiers();
  Napi::Array names = Napi::Array::New(env, tiers.present.size());
  for (uint32_t i = 0; i < tiers.present.size(); i++) names.Set(i, tier_name(tiers.present[i]));
  Napi::Object refused = Napi::Object::New(env);
  for (const auto& [tier, reason] : tiers.refused) refused.Set(tier_name(tier), reason);
  result.Set("tier", tier_name(with_js_errors(env, [] { return choose_tier(""); })));
  result.Set("tiers", names);
  result.Set("refusedTiers", refused);
  result.Set("cores", std::thread::hardware_concurrency());
  result.Set("compiler", compiler_name());
  const char* absent = cuda_absent();
  result.Set("cudaAbsent", absent == nullptr ? env.Undefined() : Napi::String::New(env, absent).As<Napi::Value>());
  return result;
}

Napi::Value create_executable(const Napi::CallbackInfo& call) {
  return call.Env().GetInstanceData<Instance>()->executable.New({call[0], call[1]});
}

Napi::Value create_quantize_math(const Napi::CallbackInfo& call) {
  return call.Env().GetInstanceData<Instance>()->quantize_math.New({call[0]});
}

Napi::Value create_calibration(const Napi::CallbackInfo& call) {
  return call.Env().GetInstanceData<Instance>()->calibration.New({call[0]});
}

int64_t count_argument(const Napi::Value& value, const char* name) {
  const int64_t count = to_integer(value, name);
  check_range(name, count, 0, INT64_MAX);
  return count;
}

std::string text_argument(const Napi::Value& value, const char* name) {
  if (!value.IsString()) throw invalid(std::string(name) + " must be a string");
  return value.As<Napi::String>().Utf8Value();
}

Napi::Value array_of(Napi::Env env, const std::vector<double>& numbers) {
  Napi::Array result = Napi::Array::New(env, numbers.size());
  for (uint32_t i = 0; i < numbers.size(); i++) result.Set(i, numbers[i]);
  return result;
}

Napi::Value read_probe(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  return with_js_errors(env, [&]() -> Napi::Value {
    const int64_t bytes = count_argument(call[0], "bytes"), threads = count_argument(call[1], "threads"),
                  repeats = count_argument(call[2], "repeats");
    return array_of(env, probe_read(static_cast<size_t>(bytes), threads, repeats));
  });
}

Napi::Value compute_probe(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  return with_js_errors(env, [&]() -> Napi::Value {
    const std::string kind = text_argument(call[0], "kind"), tier = text_argument(call[1], "tier");
    const int64_t threads = count_argument(call[2], "threads"), repeats = count_argument(call[3], "repeats");
    return array_of(env, probe_compute(kind, choose_tier(tier), threads, repeats));
  });
}

// What the CUDA device of that name is called.
Napi::Value cuda_device(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  return with_js_errors(env, [&]() -> Napi::Value {
    return Napi::String::New(env, cuda_device_name(text_argument(call[0], "device")));
  });
}

Napi::Value cublaslt_absence(const Napi::CallbackInfo& call) {
  const char* const absent = cublaslt_absent();
  return absent == nullptr ? call.Env().Undefined() : Napi::String::New(call.Env(), absent).As<Napi::Value>();
}

Napi::Value device_memory(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  return with_js_errors(env, [&]() -> Napi::Value {
    const DeviceMemoryState state = cuda_memory(text_argument(call[0], "device"));
    Napi::Object result = Napi::Object::New(env);
    result.Set("free", static_cast<double>(state.free));
    result.Set("total", static_cast<double>(state.total));
    result.Set("peak", static_cast<double>(state.peak));
    return result;
  });
}

Napi::Value device_read_probe(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  return with_js_errors(env, [&]() -> Napi::Value {
    const int64_t bytes = count_argument(call[1], "bytes"), repeats = count_argument(call[2], "repeats");
    return array_of(env, probe_device_read(text_argument(call[0], "device"), static_cast<size_t>(bytes), repeats));
  });
}

Napi::Value device_matmul_probe(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  return with_js_errors(env, [&]() -> Napi::Value {
    const std::string device = text_argument(call[0], "device"), kind = text_argument(call[1], "kind");
    return array_of(env, probe_device_matmul(device, kind, count_argument(call[2], "repeats")));
  });
}

Napi::Object load(Napi::Env env, Napi::Object exports) {
  auto instance = std::make_unique<Instance>();
  instance->executable = Napi::Persistent(Executable::define(env));
  instance->quantize_math = Napi::Persistent(QuantizeMath::define(env));
  instance->calibration = Napi::Persistent(Calibration::define(env));
  env.SetInstanceData(instance.release());
  exports.Set("abi", kAbi);
  exports.Set("info", Napi::Function::New(env, info, "info"));
  exports.Set("createExecutable", Napi::Function::New(env, create_executable, "createExecutable"));
  exports.Set("createQuantizeMath", Napi::Function::New(env, create_quantize_math, "createQuantizeMath"));
  exports.Set("createCalibration", Napi::Function::New(env, create_calibration, "createCalibration"));
  exports.Set("cudaDevice", Napi::Function::New(env, cuda_device, "cudaDevice"));
  exports.Set("cublasltAbsence", Napi::Function::New(env, cublaslt_absence, "cublasltAbsence"));
  exports.Set("cudaMemory", Napi::Function::New(env, device_memory, "cudaMemory"));
  exports.Set("probeDeviceRead", Napi::Function::New(env, device_read_probe, "probeDeviceRead"));
  exports.Set("probeDeviceMatmul", Napi::Function::New(env, device_matmul_probe, "probeDeviceMatmul"));
  exports.Set("probeRead", Napi::Function::New(env, read_probe, "probeRead"));
  exports.Set("probeCompute", Napi::Function::New(env, compute_probe, "probeCompute"));
  return exports;
}

}  // namespace
}  // namespace kvant

static Napi::Object kvant_load(Napi::Env env, Napi::Object exports) { return kvant::load(env, exports); }
NODE_API_MODULE(kvant, kvant_load)
