#pragma once
#include <cstdint>
#include <vector>

#include "cpu/page_memory.h"

namespace kvant {

// The page tables of one KV group: a row of page numbers per row slot, 0 (the reserved page) where there is none. They live
// here from step to step; a step brings only what was appended.
class PageTables {
 public:
  PageTables(int64_t row_slots, int64_t context_length, int page_tokens);

  void clear(int32_t slot);
  void set(int32_t slot, int32_t index, int32_t page);
  int32_t page(int32_t slot, int32_t index) const { return row(slot)[index]; }
  // Whether every position of [begin, end) has a page.
  bool covers(int32_t slot, int64_t begin, int64_t end);

  const int32_t* data() const { return pages_.as<int32_t>(); }
  int64_t stride() const { return stride_; }

 private:
  struct Row {
    int64_t used = 0;     // entries at and past it are 0
    int64_t present = 0;  // entries below it are known not to be 0, so that covers() reads each entry once
  };
  int32_t* row(int32_t slot) const { return pages_.as<int32_t>() + slot * stride_; }

  int page_tokens_;
  int64_t stride_;
  PageMemory pages_;  // [row_slots, stride]
  std::vector<Row> rows_;
};

}  // namespace kvant
