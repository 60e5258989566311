#include <napi.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "addon/executable.h"
#include "addon/js_error.h"
#include "addon/value_reader.h"
#include "cpu/probe.h"
#include "cpu/probe_compute.h"
#include "kvant/cuda.h"
#include "kvant/tier.h"
#include "plan/check_value.h"

namespace kvant {
namespace {

// Counts the changes of the surface in packages/kernels/src/cpu/native-addon.ts.
constexpr int kAbi = 4;

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
  const auto tiers = present_tiers();
  Napi::Array names = Napi::Array::New(env, tiers.size());
  for (uint32_t i = 0; i < tiers.size(); i++) names.Set(i, tier_name(tiers[i]));
  result.Set("tier", tier_name(with_js_errors(env, [] { return choose_tier(""); })));
  result.Set("tiers", names);
  result.Set("cores", std::thread::hardware_concurrency());
  result.Set("compiler", compiler_name());
  const char* absent = cuda_absent();
  result.Set("cudaAbsent", absent == nullptr ? env.Undefined() : Napi::String::New(env, absent).As<Napi::Value>());
  return result;
}

// What one environment (main thread or worker) holds of the addon; there are no globals.
struct Instance {
  Napi::FunctionReference executable;
};

Napi::Value create_executable(const Napi::CallbackInfo& call) {
  return call.Env().GetInstanceData<Instance>()->executable.New({call[0], call[1]});
}

// What the CUDA device of that name is called.
Napi::Value cuda_device(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  return with_js_errors(env, [&]() -> Napi::Value {
    return Napi::String::New(env, cuda_device_name(call[0].IsString() ? call[0].As<Napi::String>().Utf8Value() : ""));
  });
}

int64_t count_argument(const Napi::Value& value, const char* name) {
  const int64_t count = to_integer(value, name);
  check_range(name, count, 0, INT64_MAX);
  return count;
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

std::string text_argument(const Napi::Value& value, const char* name) {
  if (!value.IsString()) throw invalid(std::string(name) + " must be a string");
  return value.As<Napi::String>().Utf8Value();
}

Napi::Value compute_probe(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  return with_js_errors(env, [&]() -> Napi::Value {
    const std::string kind = text_argument(call[0], "kind"), tier = text_argument(call[1], "tier");
    const int64_t threads = count_argument(call[2], "threads"), repeats = count_argument(call[3], "repeats");
    return array_of(env, probe_compute(kind, choose_tier(tier), threads, repeats));
  });
}

Napi::Object load(Napi::Env env, Napi::Object exports) {
  auto instance = std::make_unique<Instance>();
  instance->executable = Napi::Persistent(Executable::define(env));
  env.SetInstanceData(instance.release());
  exports.Set("abi", kAbi);
  exports.Set("info", Napi::Function::New(env, info, "info"));
  exports.Set("createExecutable", Napi::Function::New(env, create_executable, "createExecutable"));
  exports.Set("cudaDevice", Napi::Function::New(env, cuda_device, "cudaDevice"));
  exports.Set("probeRead", Napi::Function::New(env, read_probe, "probeRead"));
  exports.Set("probeCompute", Napi::Function::New(env, compute_probe, "probeCompute"));
  return exports;
}

}  // namespace
}  // namespace kvant

static Napi::Object kvant_load(Napi::Env env, Napi::Object exports) { return kvant::load(env, exports); }
NODE_API_MODULE(kvant, kvant_load)
