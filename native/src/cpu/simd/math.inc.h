// Functions over the sixteen lanes of vec_<tier>.h, written once for all tiers.
#ifndef KVANT_TIER
#error "define KVANT_TIER and include the tier's vec header first"
#endif

namespace kvant::KVANT_TIER {
namespace {

KVANT_INLINE Vec magnitude(Vec a) { return floats_of(bits_of(a) & splat_int(0x7fffffff)); }
KVANT_INLINE Vec negated(Vec a) { return splat(0.0f) - a; }

// Any contiguous run: whole vectors, then one partial vector.
KVANT_INLINE Vec load_upto(const float* from, int64_t count) {
  return count >= kLanes ? load(from) : load_part(from, static_cast<int>(count));
}
KVANT_INLINE void store_upto(float* to, Vec a, int64_t count) {
  if (count >= kLanes) {
    store(to, a);
  } else {
    store_part(to, a, static_cast<int>(count));
  }
}

KVANT_INLINE Ints load_ints(const float* from) { return bits_of(load(from)); }
KVANT_INLINE void store_ints(float* to, Ints a) { store(to, floats_of(a)); }

// e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln(2) / 2. ln 2 is split so that n * (high part) is exact. e^r is
// 1 + r * p(r): p is the polynomial of degree 5 with the smallest relative error of the whole (2e-8 in float32
// coefficients, found by iteratively reweighted least squares), and exp(0) is exactly 1. Relative error below 2e-7.
// Below -87.3 the answer is 0, above 88.37 it is infinity (a step early, so that 2^n stays a normal float). NaN stays.
KVANT_INLINE Vec exp(Vec x) {
  const Vec magic = splat(0x1.8p23f);  // adding it rounds to an integer and leaves n in the low bits
  const Vec shifted = fma(x, splat(0x1.715476p0f), magic);
  const Vec n = shifted - magic;
  Vec r = fma(n, splat(-0x1.62e4p-1f), x);
  r = fma(n, splat(-0x1.7f7d1cp-20f), r);
  Vec p = splat(0x1.6ae6dep-10f);
  p = fma(p, r, splat(0x1.1267d8p-7f));
  p = fma(p, r, splat(0x1.555824p-5f));
  p = fma(p, r, splat(0x1.555418p-3f));
  p = fma(p, r, splat(0x1.fffffcp-2f));
  p = fma(p, r, splat(1.0f));
  p = fma(p, r, splat(1.0f));
  const Vec scaled = floats_of(bits_of(p) + shift_left<23>(bits_of(shifted)));
  const Vec bounded = select(x < splat(-87.3f), splat(0.0f), scaled);
  return select(splat(88.37f) < x, splat(__builtin_inff()), bounded);
}

}  // namespace
}  // namespace kvant::KVANT_TIER
