#pragma once

namespace kvant::cuda {

// Reductions in one fixed order: a butterfly inside the warp, then over the warps in turn. Every thread gets the result.
// Blocks hold whole warps; `shared` is [warps] and free for reuse after the call.
template <typename Value, typename Join>
__device__ Value warp_reduce(Value value, Join join) {
  for (int offset = 16; offset > 0; offset /= 2) value = join(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}

template <typename Value, typename Join>
__device__ Value block_reduce(Value value, Value* shared, Join join) {
  value = warp_reduce(value, join);
  const int warps = blockDim.x / 32;
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  value = shared[0];
  for (int warp = 1; warp < warps; warp++) value = join(value, shared[warp]);
  __syncthreads();
  return value;
}

struct Sum {
  template <typename Value>
  __device__ Value operator()(Value a, Value b) const {
    return a + b;
  }
};
struct Most {
  template <typename Value>
  __device__ Value operator()(Value a, Value b) const {
    return a < b ? b : a;
  }
};

}  // namespace kvant::cuda
