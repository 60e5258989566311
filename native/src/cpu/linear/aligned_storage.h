#pragma once
#include <cstddef>
#include <cstdint>

namespace kvant::linear {

// Zeroed memory for packed weights, in huge pages where the system grants them: a matrix-vector product touches every page
// once per token, and 4 KiB pages would cost a translation miss for each.
class AlignedStorage {
 public:
  // Throws std::bad_alloc.
  explicit AlignedStorage(size_t bytes);
  ~AlignedStorage();
  AlignedStorage(const AlignedStorage&) = delete;
  AlignedStorage& operator=(const AlignedStorage&) = delete;

  uint8_t* data() const { return data_; }
  size_t size() const { return bytes_; }

 private:
  size_t bytes_;
  void* mapping_;
  size_t mapping_bytes_;
  uint8_t* data_;  // page aligned; 2 MiB aligned from 2 MiB on
};

}  // namespace kvant::linear
