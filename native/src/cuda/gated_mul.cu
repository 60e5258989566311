// out = gate / (1 + exp(-t)) * up, t as kvant/gate.h
// Memory bound: 12 bytes and ~20 operations per value; in the form of a product 8 bytes and its operand, 4 and its operand from bf16.
#include <type_traits>

#include "cuda/cluster.cuh"
#include "cuda/launch.cuh"
#include "cuda/op_kernels.h"
#include "cuda/rows.cuh"

namespace kvant::cuda {
namespace {

constexpr int kThreads = 256;

// Whether the short exponential and division serve: beside the rounding of bf16 gates, or of what the product becomes, what they lose is
// nothing, and the long ones would take more time than the memory. A denominator from 2^126 on makes a zero of what is below 2^-118 of
// `up`. Rows that stay float32 take the long ones.
template <class Form, class In>
constexpr bool kIsShort = std::is_same_v<In, Bf16> || is_within_bf16(Form::activation);

template <bool kShort>
__device__ __forceinline__ float gated_product(Gate function, float gate, float up) {
  const float t = function == Gate::silu ? gate : kGeluSlope * fmaf(gate * gate * gate, kGeluCubic, gate);
  if constexpr (kShort) return __fdividef(gate, 1.0f + __expf(-t)) * up;
  return gate / (1.0f + expf(-t)) * up;
}

// A block takes 4 * kThreads columns of a row. up null: gate rows are [2 * width], gate then up.
__global__ void __launch_bounds__(kThreads) gated_mul_kernel(Gate function, const float* gate, const float* up, float* out, int width) {
  let_next_start();
  wait_for_inputs();
  const int64_t row = blockIdx.x;
  const float* const x = gate + row * width * (up == nullptr ? 2 : 1);
  const float* const y = up == nullptr ? x + width : up + row * width;
  const auto columns = [&]<int kColumns>(int i) {
    float a[kColumns], b[kColumns];
    load_columns(x + i, a);
    load_columns(y + i, b);
#pragma unroll
    for (int j = 0; j < kColumns; j++) a[j] = gated_product<false>(function, a[j], b[j]);
    store_columns(out + row * width + i, a);
  };
  const int first = blockIdx.y * 4 * kThreads;
  if (width % 4 == 0) {
    if (first + threadIdx.x * 4 < width) columns.template operator()<4>(first + threadIdx.x * 4);
  } else {
    for (int i = first + threadIdx.x; i < min(first + 4 * kThreads, width); i += kThreads) columns.template operator()<1>(i);
  }
}

// Dynamic shared memory: the row of products.
template <class Form, class In>
__global__ void __launch_bounds__(1024) gated_mul_prepared_kernel(Gate function, const In* gate, const In* up, PreparedForm form, Prepared to) {
  extern __shared__ __align__(16) float row[];
  __shared__ float largest[32];
  let_next_start();
  wait_for_inputs();
  const int width = form.cols;
  const In* const x = gate + static_cast<int64_t>(blockIdx.x) * width * (up == nullptr ? 2 : 1);
  const In* const y = up == nullptr ? x + width : up + static_cast<int64_t>(blockIdx.x) * width;
  float most = 0;
  over_columns(width, [&]<int kColumns>(int i) {
    float a[kColumns], b[kColumns];
    load_columns(x + i, a);
    load_columns(y + i, b);
#pragma unroll
    for (int j = 0; j < kColumns; j++) {
      a[j] = gated_product<kIsShort<Form, In>>(function, a[j], b[j]);
      most = fmaxf(most, fabsf(a[j]));
    }
    store_columns(row + i, a);
  });
  write_prepared<Form>(form, blockIdx.x, row, most, largest, to);
}

// Leaves the products where the gates were; returns the largest magnitude.
template <bool kShort>
__device__ __forceinline__ float octet_product(Gate function, float (&gates)[8], const float (&ups)[8]) {
  float most = 0;
#pragma unroll
  for (int j = 0; j < 8; j++) {
    gates[j] = gated_product<kShort>(function, gates[j], ups[j]);
    most = fmaxf(most, fabsf(gates[j]));
  }
  return most;
}

template <bool kShort>
__device__ __forceinline__ float load_product(Gate function, const float* gate, const float* up, float (&values)[8]) {
  float ups[8];
  load_octet(gate, values);
  load_octet(up, ups);
  return octet_product<kShort>(function, values, ups);
}

constexpr int kOctetsPerThread = 4;
constexpr int kRowThreads = 512;

// Many rows: a block each, in registers. Rows of whole octets.
template <class Form, class In>
__global__ void __launch_bounds__(kRowThreads) gated_mul_octets_kernel(Gate function, const In* gate, const In* up, PreparedForm form, Prepared to) {
  __shared__ float largest[32];
  let_next_start();
  wait_for_inputs();
  const int64_t row = blockIdx.x, width = form.cols;
  const In* const x = gate + row * width * (up == nullptr ? 2 : 1);
  const In* const y = up == nullptr ? x + width : up + row * width;
  float values[kOctetsPerThread][8], most = 0;
  if constexpr (std::is_same_v<In, float>) {
    over_octets<kOctetsPerThread>(form.cols / 8, [&](int i, int octet) {
      most = fmaxf(most, load_product<kIsShort<Form, In>>(function, x + octet * 8, y + octet * 8, values[i]));
    });
  } else {
    // 16 bits leave registers for all of the thread's loads to be on their way at once.
    uint4 gates[kOctetsPerThread], ups[kOctetsPerThread];
    over_octets<kOctetsPerThread>(form.cols / 8, [&](int i, int octet) {
      gates[i] = *reinterpret_cast<const uint4*>(x + octet * 8), ups[i] = *reinterpret_cast<const uint4*>(y + octet * 8);
    });
    over_octets<kOctetsPerThread>(form.cols / 8, [&](int i, int) {
      float others[8];
      widen_octet(gates[i], values[i]);
      widen_octet(ups[i], others);
      most = fmaxf(most, octet_product<kIsShort<Form, In>>(function, values[i], others));
    });
  }
  store_prepared<Form, kOctetsPerThread>(form, row, values, most, largest, to);
}

// Few rows: a cluster of kRowCluster blocks each.
template <class Form>
__global__ void __launch_bounds__(kThreads) gated_mul_cluster_kernel(Gate function, const float* gate, const float* up, PreparedForm form, Prepared to) {
  __shared__ float largest[32], shared[kRowCluster];
  const bool is_measured = Form::is_scaled && form.static_scale == 0;
  if (is_measured) enter_cluster();
  let_next_start();
  wait_for_inputs();
  const int width = form.cols, octets = width / 8, part = static_cast<int>(blockIdx.x % kRowCluster);
  const int64_t row = blockIdx.x / kRowCluster;
  const float* const x = gate + row * width * (up == nullptr ? 2 : 1);
  const float* const y = up == nullptr ? x + width : up + row * width;
  const int first = octets * part / static_cast<int>(kRowCluster), own = octets * (part + 1) / static_cast<int>(kRowCluster) - first;
  float values[kOctetsPerThread][8], most = 0;
  over_octets<kOctetsPerThread>(own, [&](int i, int octet) {
    most = fmaxf(most, load_product<kIsShort<Form, float>>(function, x + (first + octet) * 8, y + (first + octet) * 8, values[i]));
  });
  float scale = form.static_scale;
  if (is_measured) scale = linear::scale_of<Form>(cluster_most(block_reduce(most, largest, Most()), shared));
  if (Form::is_scaled && part == 0 && threadIdx.x == 0) to.scales[row] = scale;
  const linear::Quotients quotients(scale);
  over_octets<kOctetsPerThread>(own, [&](int i, int octet) {
    linear::convert_octet<Form>(form, static_cast<size_t>(row), first + octet, values[i], quotients, to.values);
  });
}

// Narrow rows gain nothing from several blocks, and many rows fill the device with one each.
bool takes_clusters(const PreparedForm& form, int64_t count) {
  constexpr int kLeast = 2048, kMost = 8 * kThreads * kOctetsPerThread * static_cast<int>(kRowCluster);
  constexpr int64_t kMostRows = 64;
  return launches_overlap() && count <= kMostRows && form.cols >= kLeast && form.cols <= kMost;
}

// Rows in registers where they fit, with as few threads as take an equal share each; else in shared memory.
template <class Form, class In>
void launch_rows(Gate function, const In* gate, const In* up, unsigned count, const PreparedForm& form, const Prepared& to, Stream stream) {
  const int octets = form.cols / 8;
  if (has_whole_octets(form) && octets <= kOctetsPerThread * kRowThreads) {
    const int threads = ((octets + kOctetsPerThread - 1) / kOctetsPerThread + 31) / 32 * 32;
    return launch("gated_mul", gated_mul_octets_kernel<Form, In>, count, static_cast<unsigned>(threads), 0, stream, function, gate, up, form, to);
  }
  const auto kernel = gated_mul_prepared_kernel<Form, In>;
  const size_t shared = static_cast<size_t>(form.cols) * sizeof(float);
  allow_shared(kernel, shared);
  launch("gated_mul", kernel, count, row_threads(form.cols), shared, stream, function, gate, up, form, to);
}

}  // namespace

void gated_mul(Gate function, const float* gate, const float* up, float* out, int64_t count, int64_t width, Stream stream) {
  const dim3 grid(static_cast<unsigned>(count), static_cast<unsigned>((width + 4 * kThreads - 1) / (4 * kThreads)));
  launch("gated_mul", gated_mul_kernel, grid, kThreads, 0, stream, function, gate, up, out, static_cast<int>(width));
}

void gated_mul_prepared(Gate function, const Gates& gate, const float* up, int64_t count, const PreparedForm& form, const Prepared& to,
                        Stream stream) {
  const auto rows = static_cast<unsigned>(count);
  linear::with_form(form, [&](auto tag) {
    using Form = decltype(tag);
    if (gate.are_bf16) return launch_rows<Form, Bf16>(function, static_cast<const Bf16*>(gate.rows), nullptr, rows, form, to, stream);
    const auto* const floats = static_cast<const float*>(gate.rows);
    if (!has_whole_octets(form) || !takes_clusters(form, count)) return launch_rows<Form, float>(function, floats, up, rows, form, to, stream);
    launch_as({.cluster = kRowCluster}, "gated_mul", gated_mul_cluster_kernel<Form>, rows * kRowCluster, kThreads, 0, stream, function, floats, up, form, to);
  });
}

}  // namespace kvant::cuda
