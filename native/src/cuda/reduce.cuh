#pragma once

namespace kvant::cuda {

struct Sum {
  template <typename Value>
  static __device__ Value identity() {
    return Value(0);
  }
  template <typename Value>
  __device__ Value operator()(Value a, Value b) const {
    return a + b;
  }
};
// Of values that are not negative.
struct Most {
  template <typename Value>
  static __device__ Value identity() {
    return Value(0);
  }
  template <typename Value>
  __device__ Value operator()(Value a, Value b) const {
    return a < b ? b : a;
  }
};

// Of any values; it has no identity, so it joins warps alone.
struct Higher {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// Reductions in one fixed order: a butterfly inside the warp, then one over the warps' results. Every thread gets the result.
// Blocks hold whole warps; `shared` is [warps] and free for reuse after the call. Joins are commutative to the bit, so all
// lanes agree.
template <typename Value, typename Join>
__device__ Value warp_reduce(Value value, Join join) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value = join(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}

// Floats have the order of their bits, for which there is one instruction: where none is negative, -0 included, and none is NaN.
__device__ __forceinline__ float warp_reduce(float value, Most) {
  return __uint_as_float(__reduce_max_sync(0xffffffffu, __float_as_uint(value)));
}

template <typename Value, typename Join>
__device__ Value block_reduce(Value value, Value* shared, Join join) {
  value = warp_reduce(value, join);
  const int warps = blockDim.x / 32, lane = threadIdx.x % 32;
  if (warps == 1) return value;
  if (lane == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  // Lanes past the last warp hold what changes nothing.
  value = lane < warps ? shared[lane] : Join::template identity<Value>();
  value = warp_reduce(value, join);
  __syncthreads();
  return value;
}

}  // namespace kvant::cuda
