#include "addon/value_reader.h"

#include <cmath>

#include "plan/check_value.h"

namespace kvant {

ValueReader::ValueReader(Napi::Value value, std::string path) : path_(std::move(path)) {
  if (!value.IsObject()) throw invalid(path_ + " must be an object");
  object_ = value.As<Napi::Object>();
}

double ValueReader::number(const char* name) const {
  const Napi::Value value = object_.Get(name);
  if (!value.IsNumber()) throw invalid(path_of(name) + " must be a number");
  return value.As<Napi::Number>().DoubleValue();
}

int64_t ValueReader::integer(const char* name) const { return to_integer(object_.Get(name), path_of(name)); }

int32_t ValueReader::index(const char* name) const {
  const int64_t value = integer(name);
  check_range(path_of(name), value, INT32_MIN, INT32_MAX);
  return static_cast<int32_t>(value);
}

std::string ValueReader::string(const char* name) const {
  const Napi::Value value = object_.Get(name);
  if (!value.IsString()) throw invalid(path_of(name) + " must be a string");
  return value.As<Napi::String>().Utf8Value();
}

ValueReader ValueReader::object(const char* name) const { return {object_.Get(name), path_of(name)}; }

std::vector<ValueReader> ValueReader::list(const char* name) const {
  const Napi::Value value = object_.Get(name);
  if (!value.IsArray()) throw invalid(path_of(name) + " must be an array");
  const Napi::Array array = value.As<Napi::Array>();
  std::vector<ValueReader> entries;
  for (uint32_t i = 0; i < array.Length(); i++) {
    entries.emplace_back(array.Get(i), path_of(name) + "[" + std::to_string(i) + "]");
  }
  return entries;
}

template <typename T>
std::span<const T> ValueReader::values(const char* name, napi_typedarray_type type, const char* type_name) const {
  const ArrayView array = view_array(object_.Get(name), type, type_name, path_of(name));
  return {static_cast<const T*>(array.data), array.length};
}

template <typename T>
void ValueReader::copy(const char* name, napi_typedarray_type type, const char* type_name, std::vector<T>& out) const {
  const std::span<const T> from = values<T>(name, type, type_name);
  out.assign(from.begin(), from.end());
}

void ValueReader::read(const char* name, std::vector<int32_t>& out) const { copy(name, napi_int32_array, "Int32Array", out); }
void ValueReader::read(const char* name, std::vector<uint32_t>& out) const { copy(name, napi_uint32_array, "Uint32Array", out); }
void ValueReader::read(const char* name, std::vector<uint8_t>& out) const { copy(name, napi_uint8_array, "Uint8Array", out); }
void ValueReader::read(const char* name, std::vector<float>& out) const { copy(name, napi_float32_array, "Float32Array", out); }
void ValueReader::read(const char* name, std::vector<double>& out) const { copy(name, napi_float64_array, "Float64Array", out); }

void ValueReader::view(const char* name, std::span<const uint8_t>& out) const { out = values<uint8_t>(name, napi_uint8_array, "Uint8Array"); }
void ValueReader::view(const char* name, std::span<const int8_t>& out) const { out = values<int8_t>(name, napi_int8_array, "Int8Array"); }
void ValueReader::view(const char* name, std::span<const float>& out) const { out = values<float>(name, napi_float32_array, "Float32Array"); }

ArrayView view_array(Napi::Value value, napi_typedarray_type type, const char* type_name, const std::string& path) {
  ArrayView view;
  if (value.IsTypedArray()) {
    napi_typedarray_type actual;
    void* data = nullptr;
    const napi_status status =
        napi_get_typedarray_info(value.Env(), value, &actual, &view.length, &data, nullptr, nullptr);
    view.data = data;
    if (status == napi_ok && actual == type) return view;
  }
  throw invalid(path + " must be a " + type_name);
}

int64_t to_integer(Napi::Value value, const std::string& path) {
  constexpr double kMaxSafeInteger = 9007199254740991.0;
  if (!value.IsNumber()) throw invalid(path + " must be a number");
  const double number = value.As<Napi::Number>().DoubleValue();
  if (number != std::floor(number) || std::abs(number) > kMaxSafeInteger) {
    throw invalid(path + " is " + std::to_string(number) + ", must be an integer");
  }
  return static_cast<int64_t>(number);
}

}  // namespace kvant
