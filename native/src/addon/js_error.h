#pragma once
#include <napi.h>

#include <new>
#include <stdexcept>

#include "plan/error.h"

namespace kvant {

inline Napi::Error js_error(Napi::Env env, const char* code, const char* message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

// Runs the body of a call from JavaScript; what it throws becomes a JavaScript error with a `code` of packages/core's table.
template <typename Body>
auto with_js_errors(Napi::Env env, const Body& body) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (const Error& error) {
    throw js_error(env, error.code(), error.what());
  } catch (const std::invalid_argument& error) {
    throw js_error(env, "INVALID_ARGUMENT", error.what());
  } catch (const std::bad_alloc&) {
    throw js_error(env, "OUT_OF_MEMORY", "an allocation of the native addon failed");
  } catch (const std::exception& error) {
    throw js_error(env, "NATIVE_FAILED", error.what());
  }
}

}  // namespace kvant
