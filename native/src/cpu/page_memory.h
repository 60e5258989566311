#pragma once
#include <cstddef>
#include <string>
#include <utility>

namespace kvant {

// Asks for huge pages where whole ones lie inside untouched memory of somebody else's, such as a large new array of JavaScript:
// a page costs about as much to hand out at 2 MiB as a few of 4 KiB. Advice only; contents stay.
void prefer_huge_pages(void* data, size_t bytes);

// Zeroed memory straight from the operating system, in huge pages where it grants them. Nothing is resident until it is
// touched, so a pool can be reserved for the longest context and cost only what is used. Aligned to 2 MiB from 2 MiB on, to
// the system page below.
class PageMemory {
 public:
  PageMemory() = default;
  // Throws Error OUT_OF_MEMORY with the bytes asked for and `purpose`.
  PageMemory(size_t bytes, const std::string& purpose);
  ~PageMemory();
  PageMemory(PageMemory&& other) noexcept { swap(other); }
  PageMemory& operator=(PageMemory&& other) noexcept {
    swap(other);
    return *this;
  }

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void swap(PageMemory& other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(mapped_, other.mapped_);
  }

  void* data_ = nullptr;
  size_t bytes_ = 0;
  size_t mapped_ = 0;
};

}  // namespace kvant
