#include "aligned_storage.h"

#include <sys/mman.h>

#include <new>

namespace kvant::linear {

namespace {
constexpr size_t kHugePage = size_t{2} << 20;
}

AlignedStorage::AlignedStorage(size_t bytes) : bytes_(bytes) {
  const bool huge = bytes >= kHugePage;
  mapping_bytes_ = bytes + (huge ? kHugePage : 0);
  mapping_ = mmap(nullptr, mapping_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping_ == MAP_FAILED) throw std::bad_alloc();
  uintptr_t start = reinterpret_cast<uintptr_t>(mapping_);
  if (huge) start = (start + kHugePage - 1) / kHugePage * kHugePage;
  data_ = reinterpret_cast<uint8_t*>(start);
#ifdef MADV_HUGEPAGE
  // Advice only: where it is refused the matrix lies in small pages.
  if (huge) madvise(data_, bytes, MADV_HUGEPAGE);
#endif
}

AlignedStorage::~AlignedStorage() { munmap(mapping_, mapping_bytes_); }

}  // namespace kvant::linear
