#include <algorithm>
#include <functional>

#include "kvant/linear.h"

namespace kvant {
namespace {

// Values that a range prepares at least, and products that it makes: below them, calling another thread costs more than the
// work.
constexpr int64_t kRangeValues = 16384;
constexpr int64_t kRangeProducts = 65536;
// Kernels read up to so many blocks side by side.
constexpr int64_t kMostBlocks = 4;
// Ranges per thread that let all threads end together.
constexpr int64_t kRangesPerThread = 8;

int64_t grain_of(int64_t width, int64_t smallest) { return std::max<int64_t>(1, smallest / width); }

}  // namespace

void Matrix::prepare_all(const float* x, int64_t tokens, void* prepared, ThreadPool& pool) const {
  const auto body = [&](int64_t begin, int64_t end, int) { prepare(x, spec_.cols, tokens, begin, end, prepared); };
  pool.parallel_for(tokens, grain_of(spec_.cols, kRangeValues), std::ref(body));
}

void Matrix::run_all(const void* prepared, int64_t tokens, const float* bias, float* y, ThreadPool& pool) const {
  // Ranges of as many blocks as leave every thread enough of them.
  const int64_t blocks = block_count(), fewest = blocks_together(tokens);
  int64_t width = kMostBlocks;
  while (width > fewest && blocks < kRangesPerThread * width * pool.threads()) width /= 2;
  const auto body = [&](int64_t begin, int64_t end, int) {
    run(prepared, tokens, bias, y, spec_.rows, begin * width, std::min(end * width, blocks));
  };
  const int64_t products = width * kLinearBlock * spec_.cols * tokens;
  pool.parallel_for((blocks + width - 1) / width, grain_of(products, kRangeProducts), std::ref(body));
}

}  // namespace kvant
