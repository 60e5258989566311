#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvant {

// Sequential read bandwidth of main memory in bytes per second, one figure per repeat: all threads read `bytes` of touched
// memory once, in several prefetched streams with the widest loads present. Throws Error for sizes outside 1 MiB .. 1 TiB.
std::vector<double> probe_read(size_t bytes, int64_t threads, int64_t repeats);

}  // namespace kvant
