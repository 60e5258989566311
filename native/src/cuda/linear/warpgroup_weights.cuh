#pragma once
// From a stage to sums: how the codes of a warp's tile become what wgmma takes from registers, its steps, and the scales of groups.
#include "warpgroup_stage.cuh"

namespace kvant::cuda::linear::warpgroup {

#ifdef KVANT_WARPGROUP

// d[64 features, 64 tokens] (+)= a[64, 16] * b[16, 64]; a of a lane: rows g, g + 8 of its warp's 16, in the order of mma.sync.
template <Operand kOperand>
__device__ __forceinline__ void step(float (&d)[32], const uint32_t (&a)[4], uint64_t b, bool add) {
#define KVANT_STEP(type)                                                                             \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"                                          \
               "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type " {" KVANT_NAMES_32 "}, " \
               "{%32, %33, %34, %35}, %36, p, 1, 1, 0;\n}\n"                                         \
               : KVANT_SUMS_32("f", d)                                                               \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)))
  if constexpr (kOperand == Operand::fp16) KVANT_STEP("f16");
  else KVANT_STEP("bf16");
#undef KVANT_STEP
}

// The same over 32 columns of int8.
template <Operand>
__device__ __forceinline__ void step(int (&d)[32], const uint32_t (&a)[4], uint64_t b, bool add) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n64k32.s32.s8.s8 {" KVANT_NAMES_32 "}, {%32, %33, %34, %35}, %36, p;\n}\n"
               : KVANT_SUMS_32("r", d)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
}

// Eight int4 codes of a row as int8: they are held as 0 .. 15, of which 8 and the zero point are taken.
__device__ __forceinline__ void eight_less_zero(uint32_t held, int zero, uint32_t (&out)[2]) {
  const uint32_t low = held & 0x0f0f0f0fu, high = held >> 4 & 0x0f0f0f0fu;  // columns 0 4 1 5, 2 6 3 7
  const uint32_t offset = static_cast<uint32_t>(8 + zero) * 0x01010101u;
  out[0] = ((__byte_perm(low, high, 0x6420) | 0x80808080u) - offset) ^ 0x80808080u;  // no borrow between bytes
  out[1] = ((__byte_perm(low, high, 0x7531) | 0x80808080u) - offset) ^ 0x80808080u;
}

// A warp's codes and factors of one iteration in a stage, and what wgmma makes of them: operands[unit][step].
template <class Shape, Format F, Operand kOperand, Scaling kScaling, int kRun>
struct Weights {
  using Fam = Family<F, kOperand>;
  static constexpr bool kInt8 = kOperand == Operand::int8;
  using Operands = uint32_t[kUnits][Shape::kSteps][4];
  using Factors = GroupFactors[Shape::kRuns];

  uint32_t codes;         // of the lane, in the stage at 0
  const uint8_t* scales;  // of the warp's tile, in the stage at 0

  // `unaligned` is the memory in which stages begin at `shared`.
  __device__ __forceinline__ Weights(const uint8_t* unaligned, uint32_t shared)
      : codes(shared + Shape::kXStageBytes + threadIdx.x * 16),
        scales(unaligned + (shared - static_cast<uint32_t>(__cvta_generic_to_shared(unaligned))) + Shape::kScalesAt +
               threadIdx.x / 32 * Shape::kScaleBytes) {}

  __device__ __forceinline__ void load_factors(const Call& call, uint32_t stage, Factors& factors) const {
    if constexpr (kScaling != Scaling::rows) {
      const int g = threadIdx.x % 32 / 4, c = threadIdx.x % 4;
#pragma unroll
      for (int run = 0; run < Shape::kRuns; run++) {
        linear::load_factors<Fam, F, kScaling, Held::shared>(call, scales + stage + run * kMostScaleVectors * 16, g, c, factors[run]);
      }
    }
  }

  __device__ __forceinline__ void decode(uint32_t stage, const Factors& factors, Operands& operands) const {
    ChunkWords<F> words[kChunks];
#pragma unroll
    for (int chunk = 0; chunk < kChunks; chunk++) {
#pragma unroll
      for (int v = 0; v < ChunkWords<F>::kVectors; v++) {
        uint4& to = words[chunk].vectors[v];
        asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
                     : "=r"(to.x), "=r"(to.y), "=r"(to.z), "=r"(to.w)
                     : "r"(codes + stage + (chunk * ChunkWords<F>::kVectors + v) * kThreads * 16));
      }
    }
#pragma unroll
    for (int unit = 0; unit < kUnits; unit += 2) {
      decode_unit<0>(words[unit / 2], factors[unit / kRun], operands[unit]);
      decode_unit<1>(words[unit / 2], factors[(unit + 1) / kRun], operands[unit + 1]);
    }
  }

 private:
  template <int kUnit>
  static __device__ __forceinline__ void decode_unit(const ChunkWords<F>& words, const GroupFactors& factors, uint32_t (&out)[Shape::kSteps][4]) {
    if constexpr (kInt8 && kScaling == Scaling::zeros) {
#pragma unroll
      for (int row = 0; row < 2; row++) {
        static_assert(F == Format::int4);  // an int8 code less a zero point is no int8
        uint32_t held[1], columns[2];
        words.template eight<kUnit>(row, held);
        eight_less_zero(held[0], factors.zero[row], columns);
        out[0][row] = columns[0], out[0][2 + row] = columns[1];
      }
    } else {
      typename Fam::Weights weights;
      Fam::template decode<kUnit, kScaling>(words, factors, weights);
#pragma unroll
      for (int i = 0; i < Shape::kSteps; i++) {
        out[i][0] = weights.row[0][2 * i], out[i][1] = weights.row[1][2 * i];
        out[i][2] = weights.row[0][2 * i + 1], out[i][3] = weights.row[1][2 * i + 1];
      }
    }
  }
};

// The steps of one run for 64 tokens, whose x is the operand `x`; the first of them adds where `add` says so.
template <class Shape, Operand kOperand, int kRun, class Sum>
__device__ __forceinline__ void run_steps(Sum (&sums)[32], const uint32_t (&operands)[kUnits][Shape::kSteps][4], uint64_t x, int run, bool add) {
#pragma unroll
  for (int at = 0; at < kRun * Shape::kSteps; at++) {
    const int unit = run * kRun + at / Shape::kSteps, step_of_unit = at % Shape::kSteps;
    const uint32_t columns = Shape::kXBytes == 1 ? unit * 32 : unit / 2 * Shape::kPanel + unit % 2 * 64 + step_of_unit * 32;
    step<kOperand>(sums, operands[unit][step_of_unit], swizzled_operand_at(x, columns), add || at > 0);
  }
}

// The factor of integers is 1/16 at least and spares a product where it meets the scale; that of floats might overflow there. It is done
// before whatever is asked of the tensor cores next: left to the compiler, it sinks below the wait for the other half.
template <class Sum>
__device__ __forceinline__ void scale_sums(const Sum (&sums)[32], const float (&scale)[2], float factor, float (&totals)[32]) {
#pragma unroll
  for (int i = 0; i < 32; i++) {
    const float value = static_cast<float>(sums[i]);
    totals[i] = std::is_same_v<Sum, int> ? fmaf(value, scale[i % 4 / 2] * factor, totals[i]) : fmaf(value * factor, scale[i % 4 / 2], totals[i]);
  }
  asm volatile("" : KVANT_SUMS_32("f", totals));
}
#endif

}  // namespace kvant::cuda::linear::warpgroup
