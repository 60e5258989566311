#pragma once
#include <stdexcept>
#include <string>

namespace kvant {

// A failure with a code of packages/core's table: INVALID_ARGUMENT, TENSOR_SHAPE, OP_UNSUPPORTED, OUT_OF_MEMORY, NATIVE_FAILED.
class Error : public std::runtime_error {
 public:
  Error(const char* code, const std::string& sentence) : std::runtime_error(sentence), code_(code) {}
  const char* code() const { return code_; }

 private:
  const char* code_;
};

inline Error invalid(const std::string& sentence) { return Error("INVALID_ARGUMENT", sentence); }

}  // namespace kvant
