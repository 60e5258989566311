#pragma once
#include <cstdint>

#include "cpu/page_memory.h"
#include "cpu/quantize/quantize_kernels.h"
#include "kvant/thread_pool.h"

namespace kvant {

// target [rows, cols] += sign * left [rows, depth] . right [depth, cols]. Both operands are lanes along their depth: the rows
// of `left` and the columns of `right`. The target shares no element with them.
struct Product {
  ProductTarget target;
  Lanes left, right;
  int64_t rows, cols, depth;
  double sign;      // 1 or -1
  bool lower_only;  // leaves out columns from (row / 64 + 1) * 64 on
};

// Packed operands, kept from one product to the next.
class ProductScratch {
 public:
  // 64-byte aligned. Throws Error OUT_OF_MEMORY.
  double* reserve(int64_t count);

 private:
  PageMemory memory_;
};

// The bits of packages/quantizers `addProduct`, whatever the tier and the number of threads: an element's sum runs over depth
// in tiles of 256, first to last, and is added to the target tile by tile.
void add_product(const Product& product, const QuantizeKernels& kernels, ThreadPool& pool, ProductScratch& scratch);

}  // namespace kvant
