// Ops whose tokens are independent and whose operands are float32 rows. All are memory bound.
//   embed     out[t] = table[ids[t]]                                     reads T * width codes
//   add       out = x + y                                                12 bytes and 1 operation per value
//   gated_mul out = gate / (1 + exp(-t)) * up, t as kvant/gate.h         12 bytes and ~20 operations per value
//   rms_norm  out = x / sqrt(mean(x^2) + epsilon) * weight per run       8 bytes and 4 operations per value
//   rope      (out[i], out[i + h]) = rotation of (x[i], x[i + h]) by the position's angle i, h = head_dim / 2
#ifndef KVANT_TIER
#error "define KVANT_TIER and include the tier's vec header first"
#endif

namespace kvant::KVANT_TIER {
namespace {

template <Format format>
void embed_rows(const StepTokens& tokens, const Code<format>* table, int64_t width, float* out, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; t++) {
    const Code<format>* from = table + tokens.ids[t] * width;
    float* to = out + t * width;
    for (int64_t i = 0; i < width; i += kLanes) store_upto(to + i, decode_upto<format>(from + i, width - i), width - i);
  }
}

void embed(const StepTokens& tokens, const void* table, Format dtype, int64_t width, float* out, int64_t begin, int64_t end) {
  switch (dtype) {
    case Format::bf16:
      return embed_rows<Format::bf16>(tokens, static_cast<const uint16_t*>(table), width, out, begin, end);
    case Format::fp16:
      return embed_rows<Format::fp16>(tokens, static_cast<const uint16_t*>(table), width, out, begin, end);
    default: return embed_rows<Format::fp32>(tokens, static_cast<const float*>(table), width, out, begin, end);
  }
}

void add(const float* x, const float* y, float* out, int64_t width, int64_t begin, int64_t end) {
  const int64_t last = end * width;
  for (int64_t i = begin * width; i < last; i += kLanes) {
    store_upto(out + i, load_upto(x + i, last - i) + load_upto(y + i, last - i), last - i);
  }
}

template <Gate function>
KVANT_INLINE Vec gate_of(Vec x) {
  if constexpr (function == Gate::silu) return x;
  return splat(kGeluSlope) * fma(x * x * x, splat(kGeluCubic), x);
}

template <Gate function>
void gated_rows(const float* gate, const float* up, float* out, int64_t width, int64_t begin, int64_t end) {
  const int64_t stride = up == nullptr ? 2 * width : width;
  const float* second = up == nullptr ? gate + width : up;
  for (int64_t t = begin; t < end; t++) {
    for (int64_t i = 0; i < width; i += kLanes) {
      const Vec x = load_upto(gate + t * stride + i, width - i);
      const Vec y = load_upto(second + t * stride + i, width - i);
      store_upto(out + t * width + i, x / (splat(1.0f) + exp(negated(gate_of<function>(x)))) * y, width - i);
    }
  }
}

void gated_mul(Gate function, const float* gate, const float* up, float* out, int64_t width, int64_t begin, int64_t end) {
  if (function == Gate::silu) return gated_rows<Gate::silu>(gate, up, out, width, begin, end);
  gated_rows<Gate::gelu_tanh>(gate, up, out, width, begin, end);
}

// Squares are summed in float lanes over runs of 128 values and in double beyond, which bounds the relative error of the
// sum by 13 roundings (8e-7) whatever the width; the root halves it.
KVANT_INLINE float inverse_rms(const float* x, int64_t width, float epsilon) {
  constexpr int64_t run = 8 * kLanes;
  double total = 0;
  for (int64_t start = 0; start < width; start += run) {
    const int64_t end = start + run < width ? start + run : width;
    Vec squares = splat(0.0f);
    for (int64_t i = start; i < end; i += kLanes) {
      const Vec value = load_upto(x + i, end - i);
      squares = fma(value, value, squares);
    }
    total += static_cast<double>(sum(squares));
  }
  return static_cast<float>(1.0 / __builtin_sqrt(total / static_cast<double>(width) + static_cast<double>(epsilon)));
}

// out may be x.
KVANT_INLINE void normalize(const float* x, const float* weight, int64_t width, float epsilon, float* out) {
  const Vec inverse = splat(inverse_rms(x, width, epsilon));
  for (int64_t i = 0; i < width; i += kLanes) {
    store_upto(out + i, load_upto(x + i, width - i) * inverse * load_upto(weight + i, width - i), width - i);
  }
}

void rms_norm(float* x, const float* residual, const float* weight, int64_t width, int64_t norm_width, float epsilon,
              float* out, int64_t begin, int64_t end) {
  if (residual != nullptr) add(x, residual, x, width, begin, end);
  for (int64_t start = begin * width; start < end * width; start += norm_width) {
    normalize(x + start, weight, norm_width, epsilon, out + start);
  }
}

// One head at one position; out may be x. cos, sin: [head_dim / 2]
KVANT_INLINE void rotate(const float* x, const float* cos, const float* sin, int head_dim, float* out) {
  const int half = head_dim / 2;
  for (int i = 0; i < half; i += kLanes) {
    const Vec low = load_upto(x + i, half - i), high = load_upto(x + half + i, half - i);
    const Vec c = load_upto(cos + i, half - i), s = load_upto(sin + i, half - i);
    store_upto(out + i, fma(low, c, negated(high * s)), half - i);
    store_upto(out + half + i, fma(high, c, low * s), half - i);
  }
}

void rope(const float* x, const RopeTables& tables, const StepTokens& tokens, int64_t width, int head_dim, float* out,
          int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; t++) {
    const int64_t row = static_cast<int64_t>(tokens.positions[t]) * (head_dim / 2);
    for (int64_t head = t * width; head < (t + 1) * width; head += head_dim) {
      rotate(x + head, tables.cos + row, tables.sin + row, head_dim, out + head);
    }
  }
}

}  // namespace
}  // namespace kvant::KVANT_TIER
