#include "cpu/page_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "plan/error.h"

namespace kvant {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

void prefer_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] size_t bytes) {
#if defined(MADV_HUGEPAGE)
  auto* const begin = static_cast<uint8_t*>(data);
  const size_t skipped = round_up(reinterpret_cast<uintptr_t>(begin), kHugePage) - reinterpret_cast<uintptr_t>(begin);
  if (bytes >= skipped + kHugePage) madvise(begin + skipped, (bytes - skipped) / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
}

PageMemory::PageMemory(size_t bytes, const std::string& purpose) {
  if (bytes == 0) return;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const bool huge = bytes >= kHugePage;
  const size_t need = round_up(bytes, page);
  // mmap aligns to the system page only: map one huge page more and give the ends back.
  const size_t mapped = huge ? need + kHugePage : need;
  void* const start = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) {
    throw Error("OUT_OF_MEMORY", "the system refused " + std::to_string(bytes) + " bytes for " + purpose);
  }
  auto* const begin = static_cast<uint8_t*>(start);
  uint8_t* data = begin;
  if (huge) {
    data = begin + (round_up(reinterpret_cast<uintptr_t>(begin), kHugePage) - reinterpret_cast<uintptr_t>(begin));
    if (data != begin) munmap(begin, static_cast<size_t>(data - begin));
    uint8_t* const end = begin + mapped;
    if (data + need != end) munmap(data + need, static_cast<size_t>(end - (data + need)));
#if defined(MADV_HUGEPAGE)
    madvise(data, need, MADV_HUGEPAGE);
#endif
  }
  data_ = data;
  bytes_ = bytes;
  mapped_ = need;
}

PageMemory::~PageMemory() {
  if (data_ != nullptr) munmap(data_, mapped_);
}

}  // namespace kvant
