// x in the form of prepare_row.cuh.  x: float32 [T, K]   prepared: [T, padded K] in the order of layout.h   scales: float32 [T]
// Reads T * K values twice (the second time from cache), writes T * K operands. One block per token.
#include "cuda/launch.cuh"
#include "cuda/reduce.cuh"
#include "prepare_row.cuh"

namespace kvant::cuda::linear {
namespace {

constexpr int kThreads = 1024;

template <class Form>
__global__ void __launch_bounds__(kThreads) prepare_kernel(const PreparedForm form, const float* x, Prepared to) {
  __shared__ float largest[kThreads / 32];
  let_next_start();
  wait_for_inputs();
  const size_t token = blockIdx.x;
  const float* from = x + token * form.cols;
  float scale = form.static_scale;
  if (Form::is_scaled && scale == 0) {
    float value = 0;
#pragma unroll 4
    for (int k = threadIdx.x; k < form.cols; k += kThreads) value = fmaxf(value, fabsf(from[k]));
    scale = scale_of<Form>(block_reduce(value, largest, Most()));
  }
  if (Form::is_scaled && threadIdx.x == 0 && blockIdx.y == 0) to.scales[token] = scale;
  for (int octet = blockIdx.y * kThreads + threadIdx.x; octet < form.padded_cols / 8; octet += gridDim.y * kThreads) {
    write_octet<Form>(form, token, octet, scale, to.values, from);
  }
}

}  // namespace

void prepare_activations(const PreparedForm& form, const float* x, int tokens, const Prepared& to, cudaStream_t stream) {
  with_form(form, [&](auto tag) {
    using Form = decltype(tag);
    // A token that needs no absmax is shared by several blocks.
    const bool dynamic = Form::is_scaled && form.static_scale == 0;
    const unsigned parts = dynamic ? 1 : static_cast<unsigned>((form.padded_cols / 8 + kThreads - 1) / kThreads);
    launch("prepare activations", prepare_kernel<Form>, dim3(static_cast<unsigned>(tokens), parts), dim3(kThreads), 0, stream, form, x, to);
  });
}

}  // namespace kvant::cuda::linear
