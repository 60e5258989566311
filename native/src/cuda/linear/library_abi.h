// cuBLASLt's binary interface, as far as it is used here: CUDA 12.9 and 13.0 (numbers have kept their meaning since
// 11.8; scale modes are of 12.9). The library is opened at run time and its header is no requirement of the build.
#pragma once
#include <cuda_runtime_api.h>
#include <library_types.h>

#include <cstddef>
#include <cstdint>

namespace kvant::cuda::linear::library {

using Handle = struct HandleOpaque*;
using Operation = struct OperationOpaque*;    // cublasLtMatmulDesc_t
using MatrixShape = struct ShapeOpaque*;      // cublasLtMatrixLayout_t
using Preference = struct PreferenceOpaque*;  // cublasLtMatmulPreference_t

using Status = int;  // cublasStatus_t
constexpr Status kSuccess = 0, kNotSupported = 15;

enum class Compute : int { fp32 = 68, fp64 = 70, int32 = 72 };  // cublasComputeType_t
constexpr int kTransposed = 1;                                  // cublasOperation_t

enum class OperationAttribute : int {  // cublasLtMatmulDescAttributes_t
  pointer_mode = 2,                    // int32; 0: alpha and beta on the host
  transpose_a = 3,                     // int32
  transpose_b = 4,                     // int32
  a_scale_pointer = 17,
  b_scale_pointer = 18,
  fast_accumulation = 25,  // int8
  a_scale_mode = 31,       // int32, one of ScaleMode
  b_scale_mode = 32,
};
enum class ShapeAttribute : int { batch_count = 5, batch_stride = 6 };  // cublasLtMatrixLayoutAttribute_t: int32, int64
enum class ScaleMode : int { scalar = 0, per_row = 3 };       // cublasLtMatmulMatrixScale_t, OUTER_VEC_32F
enum class PreferenceAttribute : int {  // cublasLtMatmulPreferenceAttributes_t
  workspace_bytes = 1,                  // size_t
  a_alignment = 5,                      // uint32: bytes by which pointers are aligned at least; 256 unless set
  b_alignment = 6,
  c_alignment = 7,
  d_alignment = 8,
};

struct Algorithm {  // cublasLtMatmulAlgo_t
  uint64_t data[8];
};
struct Candidate {  // cublasLtMatmulHeuristicResult_t
  Algorithm algorithm;
  size_t workspace_bytes;
  Status status;
  float waves;
  int reserved[4];
};

// Matrices are column-major: D[m, n] = alpha * A[m, k] * B[k, n] + beta * C[m, n].
struct Functions {
  size_t (*version)();
  Status (*create)(Handle*);
  Status (*operation_create)(Operation*, Compute, cudaDataType_t scale_type);
  Status (*operation_destroy)(Operation);
  Status (*operation_set)(Operation, OperationAttribute, const void*, size_t);
  Status (*shape_create)(MatrixShape*, cudaDataType_t, uint64_t rows, uint64_t cols, int64_t leading);
  Status (*shape_set)(MatrixShape, ShapeAttribute, const void*, size_t);
  Status (*shape_destroy)(MatrixShape);
  Status (*preference_create)(Preference*);
  Status (*preference_destroy)(Preference);
  Status (*preference_set)(Preference, PreferenceAttribute, const void*, size_t);
  Status (*candidates)(Handle, Operation, MatrixShape a, MatrixShape b, MatrixShape c, MatrixShape d, Preference, int wanted,
                       Candidate*, int* found);
  Status (*check)(Handle, Operation, MatrixShape a, MatrixShape b, MatrixShape c, MatrixShape d, const Algorithm*, Candidate*);
  Status (*multiply)(Handle, Operation, const void* alpha, const void* a, MatrixShape, const void* b, MatrixShape,
                     const void* beta, const void* c, MatrixShape, void* d, MatrixShape, const Algorithm*, void* workspace,
                     size_t workspace_bytes, cudaStream_t);
};

}  // namespace kvant::cuda::linear::library
