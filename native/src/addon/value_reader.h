#pragma once
#include <napi.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace kvant {

// Reads the properties of a JavaScript object with their types checked. Every failure is an Error INVALID_ARGUMENT that names
// the property by its path, e.g. `plan.buffers[3].width`.
class ValueReader {
 public:
  ValueReader(Napi::Value value, std::string path);

  double number(const char* name) const;
  int64_t integer(const char* name) const;  // safe integers
  int32_t index(const char* name) const;    // 32-bit integers
  std::string string(const char* name) const;
  ValueReader object(const char* name) const;
  std::vector<ValueReader> list(const char* name) const;

  void read(const char* name, std::vector<int32_t>& out) const;  // Int32Array
  void read(const char* name, std::vector<uint32_t>& out) const;
  void read(const char* name, std::vector<uint8_t>& out) const;
  void read(const char* name, std::vector<float>& out) const;
  void read(const char* name, std::vector<double>& out) const;

  // In place, valid while the caller's handle scope is.
  void view(const char* name, std::span<const uint8_t>& out) const;  // Uint8Array
  void view(const char* name, std::span<const int8_t>& out) const;
  void view(const char* name, std::span<const float>& out) const;

  std::string path_of(const char* name) const { return path_ + "." + name; }

 private:
  template <typename T>
  std::span<const T> values(const char* name, napi_typedarray_type type, const char* type_name) const;
  template <typename T>
  void copy(const char* name, napi_typedarray_type type, const char* type_name, std::vector<T>& out) const;

  Napi::Object object_;
  std::string path_;
};

// A view of a typed array, valid while the caller's handle scope is. Throws Error INVALID_ARGUMENT when `value` is not one.
struct ArrayView {
  const void* data = nullptr;
  size_t length = 0;
};
ArrayView view_array(Napi::Value value, napi_typedarray_type type, const char* type_name, const std::string& path);

// A number that is an integer of int32 or safe-integer range.
int64_t to_integer(Napi::Value value, const std::string& path);

}  // namespace kvant
