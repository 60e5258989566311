// store_line of tiers whose compilers find a short way to narrow codes; included by quantize_kernels_<tier>.cc inside an unnamed
// namespace.

// Codes [kLine], whose bits above those that are stored are 0, as bytes or two per byte, low nibble first.
template <bool kNibbles>
inline __attribute__((always_inline)) void store_line(const uint32_t* __restrict codes, uint8_t* __restrict out) {
  if constexpr (kNibbles) {
    for (int64_t i = 0; i < kLine / 2; i++) out[i] = static_cast<uint8_t>(codes[2 * i] | codes[2 * i + 1] << 4);
  } else {
    for (int64_t i = 0; i < kLine; i++) out[i] = static_cast<uint8_t>(codes[i]);
  }
}
