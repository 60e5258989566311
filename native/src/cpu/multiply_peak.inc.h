// The loop of multiply_peak_<tier>.cc; included inside that tier's namespace, after the headers. The file defines
// KVANT_VECTOR_REGISTER, the tier's constraint for a vector register.

// `step(sum)` is one instruction (or the shortest sequence) that multiplies and adds `lanes` pairs into `sum`. Twelve chains
// hide its latency on every core we know; the barrier keeps each sum in its register.
template <typename Vector, typename Step>
int64_t multiply_rounds(int64_t rounds, int64_t lanes, Step step) {
  constexpr int kChains = 12;
  Vector sums[kChains] = {};
  for (int64_t round = 0; round < rounds; round++) {
    for (Vector& sum : sums) {
      sum = step(sum);
      __asm__ volatile("" : KVANT_VECTOR_REGISTER(sum));
    }
  }
  return rounds * kChains * lanes;
}
