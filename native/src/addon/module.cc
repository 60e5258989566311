#include <napi.h>

#include <string>
#include <thread>

#include "kvant/cuda.h"
#include "kvant/tier.h"

namespace kvant {
namespace {

// Counts the changes of the surface in packages/kernels/src/cpu/native-addon.ts.
constexpr int kAbi = 1;

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
  try {
    result.Set("tier", tier_name(choose_tier("")));
  } catch (const std::runtime_error& error) {
    throw Napi::Error::New(env, error.what());
  }
  result.Set("tiers", names);
  result.Set("cores", std::thread::hardware_concurrency());
  result.Set("compiler", compiler_name());
  const char* absent = cuda_absent();
  result.Set("cudaAbsent", absent == nullptr ? env.Undefined() : Napi::String::New(env, absent).As<Napi::Value>());
  return result;
}

Napi::Object load(Napi::Env env, Napi::Object exports) {
  exports.Set("abi", kAbi);
  exports.Set("info", Napi::Function::New(env, info, "info"));
  return exports;
}

}  // namespace
}  // namespace kvant

static Napi::Object kvant_load(Napi::Env env, Napi::Object exports) { return kvant::load(env, exports); }
NODE_API_MODULE(kvant, kvant_load)
