// scale = absmax / max;  code = encode(clamp(w / scale, -max, max)), float32 divisions rounded to nearest even; affine, e8m0 and
// e4m3 scales as in group_scales.cuh: the codes and scales of src/cpu/linear/quantize_row.cc.
// Or codes and scales as they are (kvant/coded_rows.h).
// source: [rows, K] fp32, bf16 or fp16, or codes   codes, scales: layout.h
// Runs once per weight at load: reads values twice or codes once, writes codes and scales. Source rows need no alignment.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>

#include "../check.h"
#include "cpu/linear/float_codes.h"
#include "group_scales.cuh"
#include "layout.h"

namespace kvant::cuda::linear {
namespace {

using kvant::linear::encode_float;
using kvant::linear::float_definition;

constexpr float kLargest = max_value(Format::fp32);
constexpr int kThreads = 256;

struct Rows {
  int offset, count;
};

__device__ float widen(float value) { return value; }
__device__ float widen(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ float widen(__half value) { return __half2float(value); }

// Largest magnitude over the threads of a block; NaN is ignored.
__device__ float block_max(float value) {
  __shared__ float largest[kThreads / 32];
  for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
  if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = value;
  __syncthreads();
  value = 0;
  for (int warp = 0; warp < kThreads / 32; warp++) value = fmaxf(value, largest[warp]);
  __syncthreads();
  return fminf(value, kLargest);
}

// Magnitudes are ordered as their patterns, so an integer maximum serves.
template <class T>
__global__ void tensor_absmax(const T* source, size_t count, uint32_t* largest) {
  float value = 0;
  for (size_t i = blockIdx.x * size_t{kThreads} + threadIdx.x; i < count; i += size_t{gridDim.x} * kThreads) {
    value = fmaxf(value, fabsf(widen(source[i])));
  }
  value = block_max(value);
  if (threadIdx.x == 0) atomicMax(largest, __float_as_uint(value));
}

// The scale per tensor from the largest magnitude; negative where there is none.
struct TensorScale {
  const uint32_t* largest;
  float limit;  // largest code of the weights
  __device__ float value(Scales scales) const {
    if (largest == nullptr) return -1.0f;
    const float scale = __uint_as_float(*largest) / limit;
    return scales == Scales::e4m3 ? scale / max_value(Format::e4m3) : scale;
  }
};

// Smallest and largest value of a group, by a warp; not below or above zero, NaN is ignored.
template <class T>
__device__ Range warp_range(const T* from, int begin, int end) {
  Range range;
  for (int k = begin + threadIdx.x % 32; k < end; k += 32) range.add(widen(from[k]));
  for (int step = 16; step > 0; step /= 2) {
    range.add(__shfl_xor_sync(0xffffffffu, range.smallest, step));
    range.add(__shfl_xor_sync(0xffffffffu, range.largest, step));
  }
  return range;
}

// One block per row; its warps take groups in turn, or all the row's one group.
template <class T>
__global__ void __launch_bounds__(kThreads) write_scales(const Layout layout, const T* source, Rows rows, float limit, TensorScale tensor,
                                                         uint8_t* scales) {
  __shared__ Range ranges[kThreads / 32];
  const int row = rows.offset + blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const T* from = source + static_cast<size_t>(blockIdx.x) * layout.cols;
  const float tensor_scale = tensor.value(layout.scales);
  if (layout.scales == Scales::e4m3 && threadIdx.x == 0) reinterpret_cast<float*>(scales + layout.row_scales_at())[row] = tensor_scale;
  if (layout.groups == 1 && layout.scales != Scales::e4m3) {
    const int share = (layout.cols + kThreads / 32 - 1) / (kThreads / 32);
    const Range part = warp_range(from, min(warp * share, layout.cols), min((warp + 1) * share, layout.cols));
    if (lane == 0) ranges[warp] = part;
    __syncthreads();
    if (threadIdx.x != 0) return;
    Range range;
    for (const Range& each : ranges) range.add(each.smallest), range.add(each.largest);
    store_scale(layout, row, 0, 0, group_scale(layout.scales, range, limit, tensor_scale), scales);
    return;
  }
  const int parts = layout.scales == Scales::e4m3 ? 2 : 1, width = layout.scales == Scales::e4m3 ? kUnitColumns / 2 : layout.group_cols;
  for (int at = warp; at < layout.groups * parts; at += kThreads / 32) {
    const int begin = min(at * width, layout.cols), end = min(begin + width, layout.cols);
    const GroupScale group = group_scale(layout.scales, warp_range(from, begin, end), limit, tensor_scale);
    if (lane == 0) store_scale(layout, row, at / parts, at % parts, group, scales);
  }
}

// The scales of rows of codes, as they are. One thread per scale of a row as held; e4m3 scales are held in pairs.
__global__ void __launch_bounds__(kThreads) copy_scales(const Layout layout, bool one_for_all, const CodedRows source, int row_offset, uint8_t* scales) {
  const bool pairs = layout.scales == Scales::e4m3;
  const int parts = pairs ? 2 : 1, held = layout.groups * parts;
  const int in_source_row = pairs ? (layout.cols + kUnitColumns / 2 - 1) / (kUnitColumns / 2) : layout.groups;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t in_source = index / held;
  const int at = static_cast<int>(index % held), row = row_offset + static_cast<int>(in_source);
  if (in_source >= source.rows) return;
  GroupScale group;
  if (at < in_source_row) {
    const int64_t from = one_for_all ? 0 : in_source * in_source_row + at;
    if (source.scales != nullptr) group.scale = source.scales[from];
    if (source.zeros != nullptr) group.zero = source.zeros[from];
    if (source.scale_codes != nullptr) group.code = source.scale_codes[from];
  }
  store_scale(layout, row, at / parts, at % parts, group, scales);
  if (pairs && at == 0) reinterpret_cast<float*>(scales + layout.row_scales_at())[row] = source.tensor_scale;
}

template <Format F>
__device__ uint32_t encode(float value, const GroupScale& group, bool affine) {
  constexpr auto definition = float_definition(F);
  if constexpr (F == Format::fp32) return __float_as_uint(value);
  if constexpr (F == Format::bf16 || F == Format::fp16) return encode_float(value, definition);
  if (!(group.scale > 0)) return 0;
  const float quotient = value / group.scale;
  if constexpr (F == Format::int8 || F == Format::int4) {
    constexpr float kLimit = max_value(F), kLow = -kLimit - 1;
    const float number = quotient == quotient ? quotient : 0.0f;
    if (!affine) return static_cast<uint32_t>(__float2int_rn(fminf(fmaxf(number, -kLimit), kLimit)));
    const float code = rintf(fminf(fmaxf(number, 2 * kLow), 2 * kLimit + 1)) + group.zero;
    return static_cast<uint32_t>(static_cast<int>(fminf(fmaxf(code, kLow), kLimit)));
  } else {
    return encode_float(quotient, definition);
  }
}

template <Format F>
__device__ bool is_nan(uint32_t code) {
  if constexpr (F == Format::e4m3) return (code & 0x7f) == 0x7f;
  if constexpr (F == Format::e5m2) return (code & 0x7f) > 0x7c;
  return false;
}

// Where the codes of a weight come from: its values, or a tensor of codes.
template <class T>
struct Values {
  const T* values;  // [rows, K]
  template <Format F>
  __device__ uint32_t code(const Layout& layout, int row, int column, const GroupScale& group) const {
    return encode<F>(widen(values[static_cast<size_t>(row) * layout.cols + column]), group, layout.scales == Scales::affine);
  }
};

struct Codes {
  const uint8_t* codes;  // [rows, row bytes]
  template <Format F>
  __device__ uint32_t code(const Layout& layout, int row, int column, const GroupScale&) const {
    const uint8_t* const from = codes + row * code_row_bytes(bits(F), layout.cols);
    if constexpr (bits(F) == 8) return from[column];
    return from[column / 2] >> (column % 2 * 4) & 15;
  }
};

// One thread per eight padded columns of a row.
template <Format F, class Source>
__global__ void __launch_bounds__(kThreads) write_codes(const Layout layout, const Source source, Rows rows, uint8_t* codes, uint8_t* scales) {
  const int octets = layout.padded_cols / 8;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int in_source = static_cast<int>(index / octets), octet = static_cast<int>(index % octets);
  if (in_source >= rows.count) return;
  const int row = rows.offset + in_source;
  const int group = min(octet * 8 / layout.group_stride, layout.groups - 1);
  GroupScale factors;
  if constexpr (bits(F) <= 8) factors = stored_scale(layout, row, group, octet % 4 / 2, scales);
  uint32_t out[8];
  bool nan = false;
  for (int i = 0; i < 8; i++) {
    const int column = layout.source_column(octet * 8 + i);
    out[i] = column < 0 ? 0 : source.template code<F>(layout, in_source, column, factors);
    nan |= is_nan<F>(out[i]);
  }
  // The kernels may decode a NaN code as a number; the scale carries the NaN to the result instead. Threads of the same group
  // that read the scale after this write NaN codes, which changes no result.
  if (nan) reinterpret_cast<float*>(scales + layout.run_at(row, group))[row % kTileRows] = __uint_as_float(0x7fc00000u);

  const int c = octet % 4, unit = octet / 4 % 2, chunk = octet / 8;
  const size_t at = static_cast<size_t>(row) * layout.padded_cols + octet * 8;
  if constexpr (F == Format::fp32) {
    for (int i = 0; i < 8; i++) reinterpret_cast<uint32_t*>(codes)[at + i] = out[i];
  } else if constexpr (bits(F) == 16) {
    for (int i = 0; i < 8; i += 2) reinterpret_cast<uint32_t*>(codes)[(at + i) / 2] = (out[i] & 0xffffu) | out[i + 1] << 16;
  } else if constexpr (bits(F) == 8) {
    uint8_t* to = codes + static_cast<size_t>(row) * layout.padded_cols + chunk * kChunkColumns + c * 16 + unit * 8;
    for (int i = 0; i < 8; i++) to[i] = static_cast<uint8_t>(out[i]);
  } else {
    const uint32_t offset = F == Format::int4 ? 8 : 0;
    uint32_t word = 0;
    for (int i = 0; i < 8; i++) word |= ((out[i] + offset) & 15) << (i / 2 + i % 2 * 4) * 4;
    const size_t tile = static_cast<size_t>(row / kTileRows) * layout.chunks + chunk;
    reinterpret_cast<uint32_t*>(codes)[(tile * 32 + row % 8 * 4 + c) * 4 + unit * 2 + row % kTileRows / 8] = word;
  }
}

template <Format F, class Source>
void launch_codes(const Layout& layout, const Source& source, Rows rows, uint8_t* codes, uint8_t* scales, cudaStream_t stream) {
  const int64_t threads = static_cast<int64_t>(rows.count) * (layout.padded_cols / 8);
  write_codes<F><<<static_cast<unsigned>((threads + kThreads - 1) / kThreads), kThreads, 0, stream>>>(layout, source, rows, codes, scales);
  check_launch("load weights: codes");
}

template <Format F, class T>
void load(const Layout& layout, int group_size, Rows rows, const T* source, uint8_t* codes, uint8_t* scales, uint32_t* largest,
          cudaStream_t stream) {
  if constexpr (bits(F) <= 8) {
    const bool tensor = group_size == -2 || layout.scales == Scales::e4m3;
    if (tensor) {
      const size_t count = static_cast<size_t>(rows.count) * layout.cols;
      check(cudaMemsetAsync(largest, 0, sizeof *largest, stream), "load weights: clear the largest magnitude");
      const unsigned blocks = static_cast<unsigned>(std::min<size_t>(1024, (count + kThreads - 1) / kThreads));
      tensor_absmax<<<blocks, kThreads, 0, stream>>>(source, count, largest);
      check_launch("load weights: absmax");
    }
    write_scales<<<static_cast<unsigned>(rows.count), kThreads, 0, stream>>>(layout, source, rows, max_value(F),
                                                                                 {tensor ? largest : nullptr, max_value(F)}, scales);
    check_launch("load weights: scales");
  }
  launch_codes<F>(layout, Values<T>{source}, rows, codes, scales, stream);
}

template <class T>
void load_from(const Layout& layout, int group_size, Rows rows, const T* source, uint8_t* codes, uint8_t* scales, uint32_t* largest,
               cudaStream_t stream) {
  switch (layout.format) {
    case Format::fp32: return load<Format::fp32>(layout, group_size, rows, source, codes, scales, largest, stream);
    case Format::bf16: return load<Format::bf16>(layout, group_size, rows, source, codes, scales, largest, stream);
    case Format::fp16: return load<Format::fp16>(layout, group_size, rows, source, codes, scales, largest, stream);
    case Format::int8: return load<Format::int8>(layout, group_size, rows, source, codes, scales, largest, stream);
    case Format::int4: return load<Format::int4>(layout, group_size, rows, source, codes, scales, largest, stream);
    case Format::e4m3: return load<Format::e4m3>(layout, group_size, rows, source, codes, scales, largest, stream);
    case Format::e5m2: return load<Format::e5m2>(layout, group_size, rows, source, codes, scales, largest, stream);
    case Format::e2m1: return load<Format::e2m1>(layout, group_size, rows, source, codes, scales, largest, stream);
  }
}

}  // namespace

void load_weights(const Layout& layout, int group_size, int row_offset, int rows, Format dtype, const void* source,
                  uint8_t* codes, uint8_t* scales, uint32_t* largest, cudaStream_t stream) {
  if (rows == 0) return;
  const Rows part{row_offset, rows};
  if (dtype == Format::fp32) {
    load_from(layout, group_size, part, static_cast<const float*>(source), codes, scales, largest, stream);
  } else if (dtype == Format::bf16) {
    load_from(layout, group_size, part, static_cast<const __nv_bfloat16*>(source), codes, scales, largest, stream);
  } else {
    load_from(layout, group_size, part, static_cast<const __half*>(source), codes, scales, largest, stream);
  }
}

void load_codes(const Layout& layout, int group_size, int row_offset, const CodedRows& source, uint8_t* codes, uint8_t* scales, cudaStream_t stream) {
  if (source.rows == 0) return;
  const int64_t held = source.rows * layout.groups * (layout.scales == Scales::e4m3 ? 2 : 1);
  copy_scales<<<static_cast<unsigned>((held + kThreads - 1) / kThreads), kThreads, 0, stream>>>(layout, group_size == -2, source, row_offset, scales);
  check_launch("load codes: scales");
  const Rows part{row_offset, static_cast<int>(source.rows)};
  const Codes from{source.codes};
  switch (layout.format) {
    case Format::int8: return launch_codes<Format::int8>(layout, from, part, codes, scales, stream);
    case Format::int4: return launch_codes<Format::int4>(layout, from, part, codes, scales, stream);
    case Format::e4m3: return launch_codes<Format::e4m3>(layout, from, part, codes, scales, stream);
    case Format::e5m2: return launch_codes<Format::e5m2>(layout, from, part, codes, scales, stream);
    case Format::e2m1: return launch_codes<Format::e2m1>(layout, from, part, codes, scales, stream);
    default: return;  // held without scales; the matrix refuses them
  }
}

}  // namespace kvant::cuda::linear
