#include "library_loader.h"

#include <dlfcn.h>

#include <cstdlib>
#include <vector>

#include "kvant/cuda/linear.h"

namespace kvant::cuda::linear::library {
namespace {

// Scale per row of a matrix: 12.9.
constexpr size_t kLeastVersion = 120900;

std::vector<std::string> places() {
  const char* const chosen = std::getenv("KVANT_CUBLASLT");
  if (chosen != nullptr && chosen[0] != '\0') return {chosen};
  std::vector<std::string> folders = {""};  // as the loader finds it
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    const char* const root = std::getenv(variable);
    if (root != nullptr && root[0] != '\0') folders.push_back(std::string(root) + "/lib64/");
  }
  folders.push_back("/usr/local/cuda/lib64/");
  std::vector<std::string> out;
  for (const std::string& folder : folders) {
    for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12"}) out.push_back(folder + name);
  }
  return out;
}

template <class Function>
bool find(void* object, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(object, name));
  return function != nullptr;
}

struct Loaded {
  Functions functions{};
  std::string absence;
};

Loaded load() {
  Loaded out;
  Functions& to = out.functions;
  const char* const chosen = std::getenv("KVANT_CUBLASLT");
  if (chosen != nullptr && std::string(chosen) == "0") {
    out.absence = "KVANT_CUBLASLT=0 leaves cuBLASLt out";
    return out;
  }
  const char* const portable = std::getenv("CUDA_FORCE_PTX_JIT");
  if (portable != nullptr && portable[0] != '\0' && std::string(portable) != "0") {
    out.absence = "CUDA_FORCE_PTX_JIT is set, and most kernels of cuBLASLt have no PTX";
    return out;
  }
  for (const std::string& place : places()) {
    void* const object = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);  // never closed
    if (object == nullptr) {
      const char* const error = dlerror();
      out.absence += (out.absence.empty() ? "cuBLASLt was not found: " : "; ") + std::string(error == nullptr ? place : error);
      continue;
    }
    const bool complete = find(object, "cublasLtGetVersion", to.version) && find(object, "cublasLtCreate", to.create) &&
        find(object, "cublasLtMatmulDescCreate", to.operation_create) && find(object, "cublasLtMatmulDescDestroy", to.operation_destroy) &&
        find(object, "cublasLtMatmulDescSetAttribute", to.operation_set) && find(object, "cublasLtMatrixLayoutCreate", to.shape_create) &&
        find(object, "cublasLtMatrixLayoutSetAttribute", to.shape_set) && find(object, "cublasLtMatrixLayoutDestroy", to.shape_destroy) && find(object, "cublasLtMatmulPreferenceCreate", to.preference_create) &&
        find(object, "cublasLtMatmulPreferenceDestroy", to.preference_destroy) &&
        find(object, "cublasLtMatmulPreferenceSetAttribute", to.preference_set) &&
        find(object, "cublasLtMatmulAlgoGetHeuristic", to.candidates) && find(object, "cublasLtMatmulAlgoCheck", to.check) &&
        find(object, "cublasLtMatmul", to.multiply);
    if (!complete) {
      out.absence = place + " lacks functions of cuBLASLt";
    } else if (to.version() < kLeastVersion) {
      out.absence = place + " is version " + std::to_string(to.version()) + " of cuBLASLt; the oldest that serves is " + std::to_string(kLeastVersion);
    } else {
      out.absence.clear();
      return out;
    }
  }
  return out;
}

const Loaded& loaded() {
  static const Loaded library = load();
  return library;
}

}  // namespace

const Functions* functions() { return loaded().absence.empty() ? &loaded().functions : nullptr; }

}  // namespace kvant::cuda::linear::library

namespace kvant::cuda {

const std::string& cublaslt_absence() { return linear::library::loaded().absence; }

}  // namespace kvant::cuda
