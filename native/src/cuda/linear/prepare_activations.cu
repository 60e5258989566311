// x in the form of prepare_row.cuh.  x: float32 [T, K]   prepared: as PreparedForm says   scales: float32 [T]
// Reads T * K values twice (the second time from cache), writes T * K operands. One block per token.
#include "cuda/launch.cuh"
#include "cuda/reduce.cuh"
#include "cuda/rows.cuh"
#include "prepare_row.cuh"

namespace kvant::cuda::linear {
namespace {

constexpr int kThreads = 1024;
constexpr int kMostOctets = 2;

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
  const Quotients quotients(scale);
  for (int octet = blockIdx.y * kThreads + threadIdx.x; octet < form.padded_cols / 8; octet += gridDim.y * kThreads) {
    write_octet<Form>(form, token, octet, quotients, to.values, from);
  }
}

// The same for rows of whole octets, in registers: x is read once.
template <class Form>
__global__ void __launch_bounds__(kThreads) prepare_octets_kernel(const PreparedForm form, const float* x, Prepared to) {
  __shared__ float largest[kThreads / 32];
  let_next_start();
  wait_for_inputs();
  const int64_t token = blockIdx.x;
  float values[kMostOctets][8], most = 0;
  over_octets<kMostOctets>(form.cols / 8, [&](int i, int octet) {
    load_octet(x + token * form.cols + octet * 8, values[i]);
#pragma unroll
    for (int j = 0; j < 8; j++) most = fmaxf(most, fabsf(values[i][j]));
  });
  store_prepared<Form, kMostOctets>(form, token, values, most, largest, to);
}

}  // namespace

void prepare_activations(const PreparedForm& form, const float* x, int tokens, const Prepared& to, cudaStream_t stream) {
  with_form(form, [&](auto tag) {
    using Form = decltype(tag);
    const int octets = form.cols / 8;
    if (has_whole_octets(form) && octets <= kMostOctets * kThreads) {
      const auto threads = static_cast<unsigned>(std::min(kThreads, (octets + 31) / 32 * 32));
      return launch("prepare activations", prepare_octets_kernel<Form>, static_cast<unsigned>(tokens), threads, 0, stream, form, x, to);
    }
    // A token that needs no absmax is shared by several blocks.
    const bool dynamic = Form::is_scaled && form.static_scale == 0;
    const unsigned parts = dynamic ? 1 : static_cast<unsigned>((form.padded_cols / 8 + kThreads - 1) / kThreads);
    launch("prepare activations", prepare_kernel<Form>, dim3(static_cast<unsigned>(tokens), parts), dim3(kThreads), 0, stream, form, x, to);
  });
}

}  // namespace kvant::cuda::linear
