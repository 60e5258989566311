#include "cpu/ops/tables.h"

namespace kvant {

const OpKernels& op_kernels(Tier tier) {
  switch (tier) {
#if KVANT_ARCH_X86
    case Tier::avxvnni:  // differs in dot products of int8 only
    case Tier::avx2: return avx2::op_table;
    case Tier::avx512vnni: return avx512vnni::op_table;
#elif KVANT_ARCH_ARM64
    case Tier::neon: return neon::op_table;
#endif
    default: return scalar::op_table;
  }
}

// Queries and outputs [rows, width], three blocks of 16 per row, two values per row, one block of keys and one of values,
// each part rounded up to 64 bytes; as attention.inc.h lays them out.
size_t attention_scratch_bytes(int heads, const KvPages& pages) {
  const size_t rows = static_cast<size_t>(kAttentionTileTokens) * static_cast<size_t>(heads / pages.kv_heads);
  const size_t width = (static_cast<size_t>(pages.head_dim) + 15) / 16 * 16;
  const size_t per_row = (rows + 15) / 16 * 16;
  const size_t floats = 2 * rows * width + 3 * rows * 16 + 2 * per_row + 2 * width * 16;
  return floats * sizeof(float) + 64;  // the start is aligned by the kernel
}

}  // namespace kvant
