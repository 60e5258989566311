// Ops whose tokens are independent and whose operands are float32 rows. All are memory bound.
//   embed     out[t] = table[ids[t]]                                     reads T * width codes
//   add       out = x + y                                                12 bytes and 1 operation per value
//   rope      (out[i], out[i + h]) = rotation of (x[i], x[i + h]) by the position's angle i, h = head_dim / 2
//   gather    out[i] = x[rows[i]]
#include "cuda/codes.cuh"
#include "cuda/launch.cuh"
#include "cuda/op_kernels.h"
#include "cuda/rotate.cuh"

namespace kvant::cuda {
namespace {

constexpr int kThreads = 256;

unsigned blocks_for(int64_t values) { return static_cast<unsigned>((values + kThreads - 1) / kThreads); }

__device__ int64_t global_thread() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

template <Format format>
__global__ void embed_kernel(StepTokens tokens, const typename Codes<format>::Code* table, int64_t width, float* out) {
  let_next_start();
  wait_for_inputs();
  const int64_t i = global_thread();
  if (i >= tokens.count * width) return;
  out[i] = Codes<format>::decode(table[tokens.ids[i / width] * width + i % width]);
}

__global__ void add_kernel(const float* x, const float* y, float* out, int64_t values) {
  let_next_start();
  wait_for_inputs();
  const int64_t i = global_thread();
  if (i < values) out[i] = x[i] + y[i];
}

__global__ void rope_kernel(const float* x, RopeTables tables, StepTokens tokens, int64_t width, int head_dim, float* out) {
  let_next_start();
  wait_for_inputs();
  const int64_t i = global_thread(), half = head_dim / 2;
  if (i >= tokens.count * (width / 2)) return;
  const int64_t t = i / (width / 2), pair = i % (width / 2);
  const int64_t low = t * width + pair / half * head_dim + pair % half, angle = tokens.positions[t] * half + pair % half;
  const float2 turned = rotate(x[low], x[low + half], tables.cos[angle], tables.sin[angle]);
  out[low] = turned.x;
  out[low + half] = turned.y;
}

__global__ void gather_kernel(const float* x, const int32_t* rows, float* out, int64_t count, int64_t width) {
  let_next_start();
  wait_for_inputs();
  const int64_t i = global_thread();
  if (i >= count * width) return;
  const int32_t row = rows[i / width];
  if (row >= 0) out[i] = x[row * width + i % width];
}

}  // namespace

void embed(const StepTokens& tokens, const void* table, Format dtype, int64_t width, float* out, Stream stream) {
  with_format(dtype, [&](auto tag) {
    using Code = typename Codes<decltype(tag)::format>::Code;
    launch("embed", embed_kernel<decltype(tag)::format>, blocks_for(tokens.count * width), kThreads, 0, stream, tokens,
           static_cast<const Code*>(table), width, out);
  });
}

void add(const float* x, const float* y, float* out, int64_t values, Stream stream) {
  launch("add", add_kernel, blocks_for(values), kThreads, 0, stream, x, y, out, values);
}

void rope(const float* x, const RopeTables& tables, const StepTokens& tokens, int64_t width, int head_dim, float* out,
          Stream stream) {
  launch("rope", rope_kernel, blocks_for(tokens.count * (width / 2)), kThreads, 0, stream, x, tables, tokens, width, head_dim, out);
}

void gather_rows(const float* x, const int32_t* rows, float* out, int64_t count, int64_t width, Stream stream) {
  launch("gather_rows", gather_kernel, blocks_for(count * width), kThreads, 0, stream, x, rows, out, count, width);
}

}  // namespace kvant::cuda
