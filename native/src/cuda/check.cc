#include "cuda/check.h"

namespace kvant::cuda {

bool is_sticky(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable: return true;
    default: return false;
  }
}

void check(cudaError_t status, const std::string& what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // a later check_launch must not answer for this
  const std::string sentence = what + ": " + cudaGetErrorName(status) + " (" + cudaGetErrorString(status) + ")";
  if (status == cudaErrorMemoryAllocation) throw Error("OUT_OF_MEMORY", sentence);
  if (is_sticky(status)) {
    throw Error("NATIVE_FAILED", sentence + "; the device context is lost and this process must be restarted");
  }
  throw Error("NATIVE_FAILED", sentence);
}

}  // namespace kvant::cuda
