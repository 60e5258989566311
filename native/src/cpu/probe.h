#pragma once
#include <cstddef>
#include <vector>

namespace kvant {

// Sequential read bandwidth of main memory in bytes per second, one figure per repeat: all threads read `bytes` of touched
// memory once, in several prefetched streams with the widest loads present. Throws Error for sizes outside 1 MiB .. 1 TiB.
std::vector<double> probe_read(size_t bytes, int threads, int repeats);

}  // namespace kvant
