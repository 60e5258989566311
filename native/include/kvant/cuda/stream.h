#pragma once

// cudaStream_t, for headers that are also read where the CUDA toolkit is not installed.
struct CUstream_st;

namespace kvant::cuda {

using Stream = CUstream_st*;

}  // namespace kvant::cuda
