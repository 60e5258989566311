#include "cpu/page_tables.h"

#include <algorithm>

namespace kvant {

PageTables::PageTables(int64_t row_slots, int64_t context_length, int page_tokens)
    : page_tokens_(page_tokens),
      stride_((context_length + page_tokens - 1) / page_tokens),
      pages_(static_cast<size_t>(row_slots * stride_) * sizeof(int32_t), "page tables"),
      rows_(static_cast<size_t>(row_slots)) {}

void PageTables::clear(int32_t slot) {
  Row& state = rows_[static_cast<size_t>(slot)];
  std::fill_n(row(slot), state.used, 0);
  state = {};
}

void PageTables::set(int32_t slot, int32_t index, int32_t page) {
  Row& state = rows_[static_cast<size_t>(slot)];
  row(slot)[index] = page;
  state.used = std::max<int64_t>(state.used, index + 1);
  if (page == 0) state.present = std::min<int64_t>(state.present, index);
}

bool PageTables::covers(int32_t slot, int64_t begin, int64_t end) {
  const int64_t first = begin / page_tokens_, last = (end + page_tokens_ - 1) / page_tokens_;
  const int32_t* const pages = row(slot);
  int64_t& present = rows_[static_cast<size_t>(slot)].present;
  while (present < last && pages[present] != 0) present++;
  for (int64_t index = std::max(first, present); index < last; index++) {
    if (pages[index] == 0) return false;
  }
  return true;
}

}  // namespace kvant
