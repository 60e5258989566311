#include "cpu/ops/tables.h"

namespace kvant {

const OpKernels& op_kernels(Tier tier) {
  switch (tier) {
#if KVANT_ARCH_X86
    // avxvnni and amx differ in products with int8 activations only.
    case Tier::avxvnni:
    case Tier::avx2: return avx2::op_table;
    case Tier::amx:
    case Tier::avx512vnni: return avx512vnni::op_table;
#elif KVANT_ARCH_ARM64
    case Tier::neon: return neon::op_table;
#endif
    default: return scalar::op_table;
  }
}

// The larger of what attention.inc.h and attention_fixed_point.inc.h lay out, each part rounded up to 64 bytes: queries and
// outputs [rows, width], outputs in whole chunks of 64; logits and what sums of them need; keys and values of 16 positions in
// floats, which is the size of 64 positions in bytes.
size_t attention_scratch_bytes(int heads, const KvPages& pages) {
  const size_t rows = static_cast<size_t>(kAttentionTileTokens) * static_cast<size_t>(heads / pages.kv_heads);
  const size_t width = (static_cast<size_t>(pages.head_dim) + 15) / 16 * 16;
  const size_t per_row = (rows + 15) / 16 * 16;
  const size_t o_width = (width + 63) / 64 * 64;
  const size_t floats = rows * (width + o_width) + rows * (64 + 16 + 16) + 5 * per_row + 3 * 16 + 16 * (width + o_width);
  return floats * sizeof(float) + 64;  // the start is aligned by the kernel
}

}  // namespace kvant
